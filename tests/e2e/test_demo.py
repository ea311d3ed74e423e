"""The demo when it does not go smoothly: interrupted, or its port taken."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.targets import LocalTarget
from tests.e2e.workplace import LEHR, Workplace, make_workplace

pytestmark = pytest.mark.local_only("the demo brings up a local cloud")

INTERRUPTED = 130
LOCAL = LocalTarget()


@pytest.fixture
def quiet_workplace(tmp_path: Path) -> Iterator[Workplace]:
    """A local cloud of its own, on free ports, which the demo finds running."""
    place = make_workplace(tmp_path, LOCAL)
    up = place.lehr("local", "up", "--port", "0", "--https-port", "0")
    assert up.code == 0, up.stderr
    yield place
    place.lehr("local", "down")


def processes_in(folder: Path) -> list[int]:
    """Processes whose command line names the folder, this one not counted."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in command and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def test_ctrl_c_while_training_says_what_goes_on_and_how_to_stop_it(quiet_workplace: Workplace) -> None:
    folder = quiet_workplace.folder
    demo = subprocess.Popen(
        [*LEHR, "demo"],
        cwd=folder,
        env=LOCAL.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # As at a terminal, also where the suite itself was started with the signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert demo.stdout is not None
    seen = ""
    for line in demo.stdout:
        seen += line
        if "training job" in line:
            demo.send_signal(signal.SIGINT)
            break
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode == INTERRUPTED, seen + rest
    assert "Traceback" not in rest
    assert "lehr stop" in rest
    assert "lehr local down" in rest
    assert quiet_workplace.lehr("local", "status").only("local_status")["running"]

    stopped = quiet_workplace.lehr("stop", "mnist")
    assert stopped.code == 0, stopped.stderr
    (job,) = quiet_workplace.training_jobs("mnist")
    deadline = time.monotonic() + 30
    while (status := describe(quiet_workplace, job)) != "Stopped":
        assert time.monotonic() < deadline, status
        time.sleep(0.2)

    assert processes_in(folder), "nothing to look for: the check below could not fail"
    assert quiet_workplace.lehr("local", "down").code == 0
    assert processes_in(folder) == []


def describe(place: Workplace, job: str) -> str:
    return str(place.client("sagemaker").describe_training_job(TrainingJobName=job)["TrainingJobStatus"])


@pytest.mark.parametrize("option", ["--port", "--https-port"])
def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path, option: str) -> None:
    place = make_workplace(tmp_path, LOCAL)
    other = {"--port": "--https-port", "--https-port": "--port"}[option]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        up = place.lehr("local", "up", option, port, other, "0")
    assert up.code == 2
    assert port in up.stderr
    assert "--port" in up.stderr


def test_the_demo_outside_of_the_repository_says_what_is_missing(tmp_path: Path) -> None:
    place = Workplace(tmp_path, LOCAL)
    lost = place.lehr("demo")
    assert lost.code == 2
    assert "examples/mnist" in lost.stderr

"""Child processes of the local cloud: what they get, and that they never outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lehr_local import reaper
from lehr_local.emulator import find_emulator
from lehr_local.errors import LocalCloudError
from lehr_local.processes import Supervisor
from tests.integration.local_cloud.functions_cloud import eventually

ENV = {"PATH": os.defpath}
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    supervisor.close()


def is_alive(pid: int) -> bool:
    """Whether this process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_child_has_exactly_the_environment_and_the_folder_it_is_given(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    lines: list[str] = []
    code = "import os, sys; print(sorted(os.environ), os.getcwd()); print('err', file=sys.stderr)"
    child = supervisor.spawn(
        [sys.executable, "-I", "-c", code], env={**ENV, "A": "1"}, cwd=tmp_path, on_line=lines.append
    )
    assert child.wait(10) == 0
    assert sorted(lines) == [f"['A', 'LC_CTYPE', 'PATH'] {tmp_path}", "err"]
    assert (child.returncode, child.is_alive()) == (0, False)


def test_the_last_line_has_arrived_when_wait_returns(supervisor: Supervisor) -> None:
    lines: list[str] = []
    child = supervisor.spawn(["seq", "20000"], env=ENV, cwd=Path("/"), on_line=lines.append)
    child.wait(10)
    assert lines == [str(number) for number in range(1, 20001)]


def test_a_reader_that_fails_loses_its_line_and_not_the_rest(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []

    def on_line(line: str) -> None:
        if line == "1":
            raise ValueError(line)
        lines.append(line)

    supervisor.spawn(["seq", "3"], env=ENV, cwd=Path("/"), on_line=on_line).wait(10)
    assert lines == ["2", "3"]
    assert "was lost" in caplog.text


def test_the_exit_code_is_reported_and_a_signal_is_negative(supervisor: Supervisor) -> None:
    assert supervisor.spawn(["sh", "-c", "exit 3"], env=ENV, cwd=Path("/")).wait(10) == 3
    child = supervisor.spawn(["sleep", "60"], env=ENV, cwd=Path("/"))
    assert child.returncode is None
    with pytest.raises(TimeoutError):
        child.wait(0.01)
    child.kill()
    assert child.wait(10) == -signal.SIGKILL


def test_a_program_that_does_not_exist_is_named(supervisor: Supervisor) -> None:
    with pytest.raises(LocalCloudError, match="'no-such-program'"):
        supervisor.spawn(["no-such-program"], env=ENV, cwd=Path("/"))


def test_terminate_reaches_every_process_of_the_session_and_leaves_time_to_finish(
    supervisor: Supervisor,
) -> None:
    lines: list[str] = []
    inner = "(trap 'echo inner; exit 0' TERM; echo up; while :; do sleep 0.05; done) &"
    script = f"{inner} trap 'wait; echo saved; exit 0' TERM; wait"
    child = supervisor.spawn(["sh", "-c", script], env=ENV, cwd=Path("/"), on_line=lines.append)
    eventually(lambda: lines)
    child.terminate(grace_s=10)
    assert child.wait(5) == 0
    # A shell may also say "Terminated" of its `sleep`, which got the signal as well.
    assert [line for line in lines if line != "Terminated"] == ["up", "inner", "saved"]


def test_terminate_kills_what_does_not_listen(supervisor: Supervisor) -> None:
    lines: list[str] = []
    script = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    child = supervisor.spawn(["sh", "-c", script], env=ENV, cwd=Path("/"), on_line=lines.append)
    eventually(lambda: lines)
    child.terminate(grace_s=0.2)
    assert child.is_alive()
    assert child.wait(5) == -signal.SIGKILL


def test_what_a_child_leaves_behind_ends_with_it(supervisor: Supervisor) -> None:
    lines: list[str] = []
    child = supervisor.spawn(["sh", "-c", "sleep 60 & echo $!"], env=ENV, cwd=Path("/"), on_line=lines.append)
    assert child.wait(5) == 0
    assert not is_alive(int(lines[0]))


def test_close_ends_everything_and_nothing_can_be_started_afterwards() -> None:
    supervisor = Supervisor()
    children = [supervisor.spawn(["sleep", "60"], env=ENV, cwd=Path("/")) for _ in range(3)]
    supervisor.close()
    supervisor.close()
    assert [child.returncode for child in children] == [-signal.SIGKILL] * 3
    with pytest.raises(LocalCloudError, match="shutting down"):
        supervisor.spawn(["true"], env=ENV, cwd=Path("/"))


# A stand-in for the cloud. It starts a process that has moved to a group of its own, one that has even
# opened a session of its own, and (the control) one of which the supervisor knows nothing.
CLOUD = """
import subprocess, sys, time
from pathlib import Path
from lehr_local.processes import Supervisor
child = '''
import os, subprocess, sys, time
group = subprocess.Popen(["sleep", "60"], process_group=0)
session = subprocess.Popen(["sleep", "60"], start_new_session=True)
print(os.getpid(), group.pid, session.pid, flush=True)
time.sleep(60)
'''
lines = []
supervisor = Supervisor()
supervisor.spawn([sys.executable, "-I", "-c", child], env={"PATH": "/usr/bin:/bin"}, cwd=Path("/"),
                 on_line=lines.append)
control = subprocess.Popen(["sleep", "60"], start_new_session=True)
while not lines:
    time.sleep(0.01)
print(control.pid, supervisor._reaper.pid, lines[0], flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="sessions are found through /proc")
def test_a_killed_cloud_leaves_no_process_behind() -> None:
    cloud = subprocess.Popen([sys.executable, "-c", CLOUD], cwd=ROOT, stdout=subprocess.PIPE)
    assert cloud.stdout is not None
    with cloud.stdout as output:
        control, reaper_pid, *children = map(int, output.readline().split())
    try:
        assert len(children) == 3
        assert all(is_alive(pid) for pid in [control, reaper_pid, *children])
        cloud.kill()
        cloud.wait(10)
        eventually(lambda: not any(is_alive(pid) for pid in [reaper_pid, *children]), timeout_s=5)
        assert is_alive(control), "a process that the supervisor does not know must survive this test"
    finally:
        os.kill(control, signal.SIGKILL)
        cloud.kill()
        cloud.wait(10)


FUNCTION_CLOUD = """
import sys, time
from pathlib import Path
from lehr_local.processes import Supervisor
supervisor = Supervisor()
lines = []
supervisor.spawn([sys.argv[1], "--runtime-interface-emulator-address", "127.0.0.1:" + sys.argv[2],
                  "--runtime-api-address", "127.0.0.1:" + sys.argv[3], "sh", "-c", "echo $$; sleep 60"],
                 env={"PATH": "/usr/bin:/bin"}, cwd=Path("/"), on_line=lines.append)
deadline = time.time() + 20
import urllib.request, threading
def call():
    while True:
        try:
            urllib.request.urlopen("http://127.0.0.1:" + sys.argv[2] +
                                   "/2015-03-31/functions/function/invocations", b"{}")
        except OSError:
            time.sleep(0.05)
threading.Thread(target=call, daemon=True).start()
while not any(line.isdigit() for line in lines):
    time.sleep(0.01)
print(next(line for line in lines if line.isdigit()), flush=True)
time.sleep(60)
"""


def test_the_runtime_under_the_emulator_dies_with_a_killed_cloud() -> None:
    from lehr_local.emulator import _free_ports

    ports = [str(port) for port in _free_ports()]
    cloud = subprocess.Popen(
        [sys.executable, "-c", FUNCTION_CLOUD, str(find_emulator()), *ports], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert cloud.stdout is not None
        with cloud.stdout as output:
            runtime = int(output.readline())
        assert is_alive(runtime)
        assert os.getpgid(runtime) != os.getsid(runtime), "the case that killing a process group would miss"
    finally:
        cloud.kill()
        cloud.wait(10)
    eventually(lambda: not is_alive(runtime), timeout_s=5)


def test_a_child_does_not_start_when_the_cloud_dies_before_it_is_registered(tmp_path: Path) -> None:
    from lehr_local.processes import _GATE

    marker = tmp_path / "started"
    gate = subprocess.run(["/bin/sh", "-c", _GATE, "gate", "touch", str(marker)], stdin=subprocess.DEVNULL)
    assert gate.returncode == 125
    assert not marker.exists()


def test_signals_from_a_terminal_do_not_end_the_reaper() -> None:
    supervisor = Supervisor()
    try:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(supervisor._reaper.pid, signum)
        time.sleep(0.05)
        assert is_alive(supervisor._reaper.pid)
    finally:
        supervisor.close()


def test_members_of_a_session_are_found_by_session_and_by_descent() -> None:
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        assert reaper.members({child.pid}) == {child.pid}
        found = reaper.members({os.getpid()})
        assert found is None or child.pid in found
    finally:
        child.kill()
        child.wait()
    assert reaper.members({child.pid}) == set()

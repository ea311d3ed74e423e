"""A training needs files only: it runs where there is no network, as SageMaker's network isolation has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeJob = Callable[..., Any]
ENVIRONMENT = {"LEHR_PROJECT": "digits", "LEHR_RUN": "run-1", "LEHR_TRIAL": "0"}

# Found before site-packages' own: whatever opens a socket of the internet in this process fails, and says so.
NO_SOCKETS = """
import os, sys

def refuse(event, arguments):
    is_internet = event == "socket.__new__" and arguments[1] in (2, 10)
    if is_internet or event in ("socket.connect", "socket.getaddrinfo"):
        with open(os.environ["REFUSED"], "a") as file:
            file.write(f"{event} {arguments!r}\\n")
        raise OSError("there is no network")

sys.addaudithook(refuse)
"""


def _run(root: Path, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=os.environ | ENVIRONMENT | {"LEHR_ML_ROOT": str(root)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_training_opens_no_socket(make_job: MakeJob, tmp_path: Path) -> None:
    site, refused = tmp_path / "site", tmp_path / "refused"
    site.mkdir()
    (site / "sitecustomize.py").write_text(NO_SOCKETS)
    settings = {"PYTHONPATH": str(site), "REFUSED": str(refused)}
    # The negative control: the hook is there.
    control = _run(
        tmp_path,
        [sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))"],
        **settings,
    )
    assert "there is no network" in control.stderr
    refused.unlink()
    job = make_job(epochs=1)
    done = _run(job.root, [sys.executable, "-m", "lehr_trainer", "train"], **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not refused.exists(), refused.read_text()
    assert (job.root / "model/model.onnx").is_file()


def test_a_training_runs_without_any_network_interface(make_job: MakeJob) -> None:
    unshare = shutil.which("unshare")
    isolated = [str(unshare), "--net", "--map-root-user"]
    if not unshare or subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a network namespace")
    control = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=5)"
    lonely = subprocess.run(
        [*isolated, sys.executable, "-c", control], capture_output=True, text=True, check=False
    )
    assert "unreachable" in lonely.stderr, "even the loopback interface is down"
    job = make_job(epochs=1)
    done = _run(job.root, [*isolated, sys.executable, "-m", "lehr_trainer", "train"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert (job.root / "model/model.onnx").is_file()

"""Starts, stops and describes a local cloud that runs in the background.

Each command can be repeated, and two of them at once take turns. What the cloud holds (objects, tables,
stacks) lives in the memory of its process: `down` loses it, unless it was started with `--keep`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lehr_local.control_requests import ask
from lehr_local.errors import LocalCloudError
from lehr_local.state_files import CloudInfo, StateFiles, process_started

_START_LIMIT_S = 60.0
# Jobs get their seconds, and a last snapshot is written.
_STOP_GRACE_S = 60.0


def up(state_dir: Path, port: int, https_port: int, options: Sequence[str] = ()) -> CloudInfo:
    """Start a cloud, or find the one that runs in `state_dir`, and return where it is once it is ready.

    `options` are handed to a cloud that is started; one that runs stays as it is.

    Raises LocalCloudError if it does not start.
    """
    files = StateFiles(state_dir.resolve())
    with files.turn():
        if files.is_running():
            return _wait_for_info(files)
        return _start(files, port, https_port, options)


def down(state_dir: Path) -> bool:
    """Stop the cloud of `state_dir` and what it has started; False if none was running."""
    if not state_dir.is_dir():
        return False
    files = StateFiles(state_dir.resolve())
    with files.turn():
        was_running = files.is_running()
        if was_running:
            info = _wait_for_info(files)
            _signal(info, signal.SIGTERM)
            if not files.wait_until_stopped(info, _STOP_GRACE_S):
                _signal(info, signal.SIGKILL)
                files.wait_until_stopped(info, _STOP_GRACE_S)
        files.remove_info()
        shutil.rmtree(files.state_dir / "functions" / "tmp", ignore_errors=True)
        return was_running


def status(state_dir: Path) -> CloudInfo | None:
    """The cloud that runs in `state_dir` and is ready, or None."""
    return StateFiles(state_dir.resolve()).read_info()


def interrupt(state_dir: Path, job: str, gone_for_s: float) -> Mapping[str, Any]:
    """Take the spot instance of a running job away, for so many seconds. Raises LocalCloudError if it cannot be."""
    info = status(state_dir)
    if info is None:
        raise LocalCloudError("No local cloud is running.", "Start it with `python -m lehr_local up`.")
    return ask(info.port, "interrupt", {"job": job, "gone_for_s": gone_for_s})


def _start(files: StateFiles, port: int, https_port: int, options: Sequence[str]) -> CloudInfo:
    # -I keeps out what PYTHONPATH, PYTHONSTARTUP or a file in the current folder would bring along; the
    # folder of this package goes to the end of the path, where it shadows nothing.
    code = "import sys; sys.path.append(sys.argv.pop(1)); from lehr_local.__main__ import main; main()"
    command = [sys.executable, "-I", "-c", code, str(Path(__file__).resolve().parent.parent)]
    command += [
        "serve",
        "--state",
        str(files.state_dir),
        "--port",
        str(port),
        "--https-port",
        str(https_port),
        *options,
    ]
    with files.log_file.open("ab") as log:
        begin = log.tell()
        child = subprocess.Popen(
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise _failure(files, begin)
        info = files.read_info()
        if info is not None and info.pid == child.pid:
            return info
        time.sleep(0.02)
    child.kill()
    child.wait()
    raise LocalCloudError(
        f"The local cloud was not ready after {_START_LIMIT_S:.0f} s.", f"See {files.log_file}."
    )


def _failure(files: StateFiles, begin: int) -> LocalCloudError:
    with files.log_file.open("rb") as log:
        log.seek(begin)
        lines = log.read().decode(errors="replace").splitlines()
    stated = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if stated:
        return LocalCloudError(stated[-1])
    last = lines[-1] if lines else "it wrote nothing"
    return LocalCloudError(f"The local cloud ended while it started: {last}.", f"See {files.log_file}.")


def _wait_for_info(files: StateFiles) -> CloudInfo:
    """Where a cloud is that somebody else may just be starting."""
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline and files.is_running():
        info = files.read_info()
        if info is not None:
            return info
        time.sleep(0.02)
    raise LocalCloudError(
        f"The local cloud in {files.state_dir} is neither ready nor gone.", f"See {files.log_file}."
    )


def _signal(info: CloudInfo, signum: int) -> None:
    # Never a process that merely has the same number.
    if process_started(info.pid) == info.process_started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(info.pid, signum)

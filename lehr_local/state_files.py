"""The files by which a local cloud is found and told from a dead one.

`cloud.lock` is locked for as long as the cloud lives: the kernel lets go of it however the process ends, so
a lock that is free means that nothing runs, whatever `local.json` says. `local.json` appears when the cloud
is ready, and says where. `up.lock` makes commands take turns.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lehr_local.errors import LocalCloudError


@dataclass(frozen=True, kw_only=True)
class CloudInfo:
    """What `local.json` says. `process_started` tells the process from a later one with the same pid."""

    pid: int
    process_started: str
    started_at: str
    endpoint_url: str
    port: int
    https_port: int
    ca_file: str
    account_id: str
    region: str
    log: str


class StateFiles:
    """The files of the local cloud in one folder."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.info_file = state_dir / "local.json"
        self.log_file = state_dir / "cloud.log"

    @contextlib.contextmanager
    def cloud_lock(self) -> Iterator[None]:
        """Be the one cloud of this folder. Raises LocalCloudError if another one is."""
        with self._open("cloud.lock") as lock:
            # Whoever looks whether a cloud runs holds the lock for a moment; a cloud holds it for longer.
            deadline = time.monotonic() + 1
            while not (is_ours := _try_lock(lock)) and time.monotonic() < deadline:
                time.sleep(0.01)
            if not is_ours:
                raise LocalCloudError(
                    f"A local cloud already runs in {self.state_dir}.",
                    f"Stop it with `python -m lehr_local down --state {self.state_dir}`.",
                )
            yield

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn of this command among all that start or stop this cloud."""
        with self._open("up.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def is_running(self) -> bool:
        if not (self.state_dir / "cloud.lock").exists():
            return False
        with self._open("cloud.lock") as lock:
            return not _try_lock(lock)

    def is_there(self) -> bool:
        """Whether the folder is still the one the cloud was started in, and not deleted under it."""
        return (self.state_dir / "cloud.lock").exists()

    def write_info(self, info: CloudInfo) -> None:
        scratch = self.info_file.with_suffix(".json.new")
        scratch.write_text(json.dumps(asdict(info), indent=2) + "\n")
        scratch.rename(self.info_file)

    def remove_info(self) -> None:
        self.info_file.unlink(missing_ok=True)

    def read_info(self) -> CloudInfo | None:
        """The cloud that runs and is ready, or None: a file that a dead cloud has left is not believed."""
        if not self.is_running():
            return None
        try:
            info = CloudInfo(**json.loads(self.info_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return info if process_started(info.pid) == info.process_started else None

    def wait_until_stopped(self, info: CloudInfo, timeout_s: float) -> bool:
        """Wait until the process of `info` has ended; False if it has not in time."""
        deadline = time.monotonic() + timeout_s
        while process_started(info.pid) == info.process_started:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[int]:
        self.state_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.state_dir / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield lock
        finally:
            os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def process_started(pid: int) -> str | None:
    """When the process with this pid was started, in the system's own words; None if none is alive."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
        return answer.stdout.strip() or None
    # Fields 3 and 22, counted after the name, which is in parentheses and may hold anything.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]

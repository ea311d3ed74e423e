"""A child process with what it started: ended as a whole, its memory and processor time read from /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Of a process and its descendants: the sum of the peaks of resident memory, processor time, memory now."""

    peak_rss_mb: float
    cpu_ms: float
    rss_mb: float


class Child:
    """Leader of a session of its own; `started_at` is on the clock of time.perf_counter, just before it was started."""

    def __init__(
        self, command: list[str], *, environment: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        with log.open("ab") as output:
            self.started_at = time.perf_counter()
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.log = log

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_for_port(self, port: int, timeout_s: float = 60) -> None:
        """Until somebody listens at the port. Raises RuntimeError with the end of the log."""
        deadline = time.monotonic() + timeout_s
        while self.is_alive() and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.001)
            else:
                return
        raise RuntimeError(f"nobody listens at port {port}:\n{self.log_tail()}")

    def log_tail(self, length: int = 3000) -> str:
        return self.log.read_bytes()[-length:].decode(errors="replace")

    def usage(self, *, is_leader_counted: bool = True) -> Usage:
        """Of all that lives now; without the leader for an emulator, which is no part of what it runs."""
        members = _descendants(self._process.pid)
        if is_leader_counted:
            members.append(self._process.pid)
        peak = now = cpu = 0.0
        for pid in members:
            with contextlib.suppress(OSError, KeyError, IndexError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                fields = dict(line.split(":", 1) for line in lines)
                times = _stat(pid)
                peak += int(fields["VmHWM"].split()[0]) / 1024
                now += int(fields["VmRSS"].split()[0]) / 1024
                cpu += (int(times[11]) + int(times[12])) * 1000 / _TICKS
        return Usage(peak, cpu, now)

    def close(self) -> None:
        """End it and whatever it started."""
        members = [self._process.pid, *_descendants(self._process.pid)]
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and any(_is_running(pid) for pid in members):
            time.sleep(0.002)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; the name before it may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _is_running(pid: int) -> bool:
    try:
        return _stat(pid)[0] != "Z"
    except (OSError, IndexError):
        return False

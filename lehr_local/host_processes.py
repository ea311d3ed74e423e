"""The processes of a job of one instance or several: a process for each host, which end together."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lehr_local.processes import ManagedProcess, Supervisor
from lehr_local.training_container import TrainingContainer
from lehr_local.training_log import TrainingLog

# Between SIGTERM and SIGKILL, as SageMaker documents it.
STOP_GRACE_S = 120.0
# How soon the end of one of several hosts is noticed.
_LOOK_EVERY_S = 0.2


class HostProcesses:
    """They have trained once all have; where one fails the others are stopped.

    Whoever stops them may do so from another thread than the one that waits.
    """

    def __init__(self, hosts: Sequence[TrainingContainer], logs: Sequence[TrainingLog]) -> None:
        self._hosts, self._logs = hosts, logs
        self._processes: list[ManagedProcess] = []
        # Of several the one that failed first.
        self.failed_host: TrainingContainer | None = None

    @property
    def were_started(self) -> bool:
        return bool(self._processes)

    @property
    def is_any_alive(self) -> bool:
        return any(process.is_alive() for process in self._processes)

    def start(self, supervisor: Supervisor) -> None:
        """Start them, anew if they have run already."""
        self.failed_host = None
        self._processes = [
            supervisor.spawn(host.argv(), env=host.environment(), cwd=host.home, on_line=log.add)
            for host, log in zip(self._hosts, self._logs, strict=True)
        ]

    def wait(self, limit_s: float) -> int:
        """Wait for all; gives 0, or what the first that failed gave. Raises TimeoutError."""
        deadline = time.monotonic() + limit_s
        pause_s = limit_s if len(self._processes) == 1 else _LOOK_EVERY_S
        for process in self._processes:
            while process.returncode is None:
                left_s = max(deadline - time.monotonic(), 0.0)
                try:
                    process.wait(timeout_s=min(pause_s, left_s))
                except TimeoutError:
                    if left_s <= pause_s:
                        raise
                self._notice_failure()
        self._notice_failure()
        failed = self.failed_host
        return 0 if failed is None else self._processes[self._hosts.index(failed)].wait()

    def terminate(self) -> None:
        """SIGTERM, and SIGKILL after the grace."""
        for process in self._processes:
            process.terminate(STOP_GRACE_S)

    def kill(self) -> None:
        for process in self._processes:
            process.kill()

    def _notice_failure(self) -> None:
        if self.failed_host is not None:
            return
        for host, process in zip(self._hosts, self._processes, strict=True):
            if process.returncode:
                self.failed_host = host
                self.terminate()
                return

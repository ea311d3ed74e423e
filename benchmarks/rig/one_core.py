"""One core for what is measured, the others for whoever measures.

Affinity alone is not one core: ONNX Runtime's default threads choose theirs and leave it. A cpuset holds them, so it
is used where one can be made (cgroup v1, as root), and `taskset` elsewhere; `kind` says which it was.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

CPUSETS = Path("/sys/fs/cgroup/cpuset")


class OneCore:
    """The last core of this process; while it is open, this process itself runs on the others."""

    def __init__(self) -> None:
        self._before = os.sched_getaffinity(0)
        self.number = max(self._before)
        self._cpuset = self._make_cpuset()
        self.kind = "cpuset" if self._cpuset else "taskset"
        if others := self._before - {self.number}:
            os.sched_setaffinity(0, others)

    def wrap(self, command: list[str]) -> list[str]:
        """The command that runs `command` on this core; its process stays the one that was started."""
        pinned = ["taskset", "-c", str(self.number), *command]
        if self._cpuset is None:
            return pinned
        return ["/bin/sh", "-c", f'echo $$ > {self._cpuset}/tasks && exec "$@"', "sh", *pinned]

    def close(self) -> None:
        """Give this process its cores back. Whatever ran in the cpuset must have ended."""
        os.sched_setaffinity(0, self._before)
        deadline = time.monotonic() + 5
        while self._cpuset and self._cpuset.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self._cpuset.rmdir()
            time.sleep(0.02)

    def _make_cpuset(self) -> Path | None:
        folder = CPUSETS / f"lehr-benchmark-{os.getpid()}"
        try:
            folder.mkdir()
            (folder / "cpuset.cpus").write_text(str(self.number))
            (folder / "cpuset.mems").write_text((CPUSETS / "cpuset.mems").read_text())
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            return None
        return folder

"""Child processes that cannot outlive the local cloud.

Functions and training jobs are ordinary processes. If the cloud is killed, a trainer that goes on for hours
would hold the laptop's memory and write into a store that no longer exists; so each child is registered with
the reaper (see reaper.py) *before* its program starts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from lehr_local import reaper
from lehr_local.errors import LocalCloudError

logger = logging.getLogger(__name__)

# The child waits for one line before it becomes the program. The line is sent once the reaper knows the
# child; if the cloud dies in between, the child reads the end of the file and ends. The shell adds a few
# variables to the environment, which are taken away again.
_GATE = 'IFS= read -r gate || exit 125; unset gate PWD OLDPWD SHLVL _; exec "$@" </dev/null'


class ManagedProcess:
    """One child, leader of a session of its own. Made by `Supervisor.spawn`."""

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        on_line: Callable[[str], None] | None,
        on_end: Callable[[int], None],
    ) -> None:
        self.pid = popen.pid
        self._popen = popen
        self._on_end = on_end
        self._has_exited = threading.Event()
        self._is_done = threading.Event()
        self._reader: threading.Thread | None = None
        if on_line is not None and popen.stdout is not None:
            self._reader = threading.Thread(
                target=self._read, args=(popen.stdout, on_line), name=f"output-{self.pid}", daemon=True
            )
            self._reader.start()
        threading.Thread(target=self._watch, name=f"watch-{self.pid}", daemon=True).start()

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None until the process has ended and its output was read."""
        return self._popen.returncode if self._is_done.is_set() else None

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait until the process has ended and `on_line` has had its last line.

        Raises TimeoutError after `timeout_s`. Must not be called from `on_line`.
        """
        if not self._is_done.wait(timeout_s):
            raise TimeoutError(f"process {self.pid} still runs after {timeout_s} s")
        return int(self._popen.returncode)

    def terminate(self, grace_s: float) -> None:
        """Send SIGTERM to the whole session now and SIGKILL after `grace_s`; does not wait."""
        if not self.is_alive():
            return
        reaper.signal_sessions({self.pid}, signal.SIGTERM)
        timer = threading.Timer(grace_s, self.kill)
        timer.daemon = True
        timer.start()

    def kill(self) -> None:
        """Send SIGKILL to the whole session; does not wait."""
        if self.is_alive():
            reaper.signal_sessions({self.pid}, signal.SIGKILL)

    def is_alive(self) -> bool:
        return not self._has_exited.is_set()

    def _read(self, stream: IO[bytes], on_line: Callable[[str], None]) -> None:
        with stream:
            for line in stream:
                try:
                    on_line(line.rstrip(b"\r\n").decode(errors="replace"))
                except Exception:
                    logger.exception("a line of process %d was lost", self.pid)

    def _watch(self) -> None:
        # WNOWAIT leaves a zombie, so that the pid (and with it the session id) cannot be given to another
        # process while what is left of the session is being killed.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self._has_exited.set()
        reaper.kill_sessions({self.pid})
        if self._reader is not None:
            self._reader.join()
        self._on_end(self.pid)
        self._popen.wait()
        self._is_done.set()


class Supervisor:
    """Starts child processes that cannot outlive the local cloud, even when it is killed with SIGKILL."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._children: dict[int, ManagedProcess] = {}
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", reaper.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={},
            cwd="/",
            start_new_session=True,
        )
        assert self._reaper.stdout is not None
        with self._reaper.stdout as stream:
            if stream.readline().strip() != b"ready":
                self._reaper.kill()
                raise LocalCloudError("The process that cleans up after the local cloud did not start.")

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        on_line: Callable[[str], None] | None = None,
    ) -> ManagedProcess:
        """Start `argv` in `cwd` with exactly the environment `env`, as the leader of a new session.

        `on_line` gets each line of the merged output, without its end, from a thread of its own; without
        `on_line` the output is discarded. Raises LocalCloudError if the program does not exist or the
        supervisor is closed.
        """
        program = shutil.which(argv[0], path=env.get("PATH", os.defpath))
        if program is None:
            raise LocalCloudError(f"There is no program {argv[0]!r} to run.")
        with self._lock:
            if self._is_closed:
                raise LocalCloudError("The local cloud is shutting down.")
            popen = subprocess.Popen(
                ["/bin/sh", "-c", _GATE, "gate", program, *argv[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL if on_line is None else subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
            assert popen.stdin is not None
            with popen.stdin as gate:
                self._tell_reaper(f"+{popen.pid}")
                # A child that was killed at its gate is reported as any other that was killed.
                with contextlib.suppress(BrokenPipeError):
                    gate.write(b"go\n")
                    gate.flush()
            child = ManagedProcess(popen, on_line, self._forget)
            self._children[popen.pid] = child
        return child

    def close(self) -> None:
        """Kill everything that was started, and wait until it is gone. Idempotent."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            children = list(self._children.values())
        reaper.kill_sessions({child.pid for child in children})
        for child in children:
            child.wait(timeout_s=10)
        assert self._reaper.stdin is not None
        self._reaper.stdin.close()
        self._reaper.wait(timeout=10)

    def _forget(self, pid: int) -> None:
        with self._lock:
            self._children.pop(pid, None)
            with contextlib.suppress(LocalCloudError):
                self._tell_reaper(f"-{pid}")

    def _tell_reaper(self, line: str) -> None:
        assert self._reaper.stdin is not None
        try:
            self._reaper.stdin.write(line.encode() + b"\n")
            self._reaper.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise LocalCloudError(
                "The process that cleans up after the local cloud has ended.", "Start the cloud again."
            ) from error

"""A training that hangs is seen and ended: no sign of life for `backend.hang_after_s`.

The loop gives a sign after every update and every part of a validation. A thread beside it looks at the last one.
When it is too old, the main thread is interrupted by a signal whose handler raises HangError, so that the run fails
where it stands, with the line of the project's code that it stands in. Code that does not come back to the interpreter,
as a kernel or a collective operation that waits for ever, cannot be interrupted: a little later the thread writes
the reason itself, with the place, and ends the process.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType

from lehr_trainer.errors import HangError

GRACE_S = 10.0
_SIGNAL = signal.SIGUSR2
# What ends the process: called with the reason and the stack of the main thread, as traceback gives it.
OnStuck = Callable[[HangError, traceback.StackSummary], None]


class Heartbeat:
    """Watches from the first `beat` to `rest`; with `after_s` 0 it never does. A context manager, entered once."""

    def __init__(self, after_s: float, on_stuck: OnStuck, *, grace_s: float = GRACE_S) -> None:
        self._after_s, self._on_stuck, self._grace_s = after_s, on_stuck, grace_s
        self._main = threading.get_ident()
        self._seen: float | None = None
        self._place = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)

    def beat(self, place: str) -> None:
        """A sign of life from `place`, as "epoch 1 step 3"."""
        self._seen, self._place = time.monotonic(), place

    def rest(self) -> None:
        """No sign is due any more."""
        self._seen = None

    def __enter__(self) -> Heartbeat:
        self._main = threading.get_ident()
        if self._after_s:
            self._can_interrupt = threading.current_thread() is threading.main_thread()
            if self._can_interrupt:
                self._handler = signal.signal(_SIGNAL, self._on_signal)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()
        self._over.set()
        if self._after_s:
            self._thread.join()
            if self._can_interrupt:
                signal.signal(_SIGNAL, self._handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_late():
            raise self._fault()

    def _is_late(self) -> bool:
        seen = self._seen
        return seen is not None and time.monotonic() - seen > self._after_s

    def _fault(self) -> HangError:
        return HangError(
            f"no sign of life for {self._after_s:g} s after {self._place}",
            hint="set backend.hang_after_s higher if so long is meant",
        )

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._after_s / 4)):
            if not self._is_late():
                continue
            if self._can_interrupt:
                signal.pthread_kill(self._main, _SIGNAL)
                if self._over.wait(self._grace_s):
                    return
            if self._is_late():
                frame = sys._current_frames().get(self._main)
                self._on_stuck(self._fault(), traceback.extract_stack(frame))
                return

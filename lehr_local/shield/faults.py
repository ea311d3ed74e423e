"""Faults that are injected into calls: an error, a delay, or the nastiest, a reply that is lost after the commit."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Kind = Literal["error", "delay", "lost_reply"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to the next `times` calls of an action (wildcards allowed) by an actor (likewise)."""

    action: str
    kind: Kind
    times: int = 1
    actor: str = "*"
    code: str = "InternalServerError"
    status: int = 500
    delay_s: float = 0.0


class FaultPlan:
    """Faults that are still to come, and how many have landed: a test of faults that hit nothing proves nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: list[tuple[Fault, int]] = []
        self.landed = 0

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._left.append((fault, fault.times))

    def clear(self) -> None:
        with self._lock:
            self._left.clear()

    def take(self, actor: str, actions: list[str]) -> Fault | None:
        """The fault that this call suffers, if any; it counts as landed."""
        with self._lock:
            for index, (fault, times) in enumerate(self._left):
                if fnmatchcase(actor, fault.actor) and any(
                    fnmatchcase(name, fault.action) for name in actions
                ):
                    self._left[index : index + 1] = [(fault, times - 1)] if times > 1 else []
                    self.landed += 1
                    return fault
        return None

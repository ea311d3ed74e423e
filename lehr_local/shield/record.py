"""Every call that the shield has judged, in order."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from lehr_local.authority import Context

USER = "user"
# A cloud that polls queues for days stays small.
_LIMIT = 200_000


@dataclass(frozen=True)
class Judgement:
    """One demand and its outcome. `actor` is the name of a role, the name of a service, or "user"."""

    actor: str
    action: str
    resource: str
    outcome: str
    context: Context = field(default_factory=dict)
    at: float = field(default_factory=time.time)

    @property
    def is_denied(self) -> bool:
        return self.outcome != "allowed"


class CallRecord:
    """Judgements, oldest first; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._judgements: deque[Judgement] = deque(maxlen=_LIMIT)

    def add(self, judgement: Judgement) -> None:
        with self._lock:
            self._judgements.append(judgement)

    def judgements(self) -> list[Judgement]:
        with self._lock:
            return list(self._judgements)

    def clear(self) -> None:
        with self._lock:
            self._judgements.clear()

    def documents(self) -> list[dict[str, Any]]:
        """The same, as JSON."""
        return [asdict(judgement) for judgement in self.judgements()]

"""What answers for a project: the champion, a canary beside it, and the bookkeeping of one refresh of the two."""

from __future__ import annotations

import hashlib
import threading
import time

import msgspec

from lehr_runtime.packages import LoadedModel


class Champion(msgspec.Struct, frozen=True):
    """A loaded model and the generation of the alias that named it."""

    model: LoadedModel
    generation: int


class Candidate(msgspec.Struct, frozen=True):
    """What a share of `weight` of the requests gets while a candidate is watched, and until when, in Unix time.

    `chosen` answers them: the candidate itself as a canary, or the champion with a shadow. `other` answers the rest.
    """

    loaded: LoadedModel
    chosen: Champion
    other: Champion
    weight: float
    until: float


class Serving(msgspec.Struct, frozen=True):
    """What answers for a project: read once per request, replaced whole."""

    champion: Champion
    candidate: Candidate | None = None

    def of(self, key: str | None) -> Champion:
        """Who answers a request with this key: the same key always goes the same way, none to the champion."""
        candidate = self.candidate
        if candidate is None or key is None or time.time() >= candidate.until:
            return self.champion
        return candidate.chosen if fraction(key) < candidate.weight else candidate.other

    def models(self) -> dict[str, LoadedModel]:
        served = [self.champion.model, *([self.candidate.loaded] if self.candidate else [])]
        return {model.version: model for model in served}


class Refresh(msgspec.Struct):
    """One reading of the alias and of what it names; `warm` are the models at hand, `done` is set at its end."""

    begun_at: float
    warm: dict[str, LoadedModel]
    is_loading: bool = False
    lent_at: float | None = None
    done: threading.Event = msgspec.field(default_factory=threading.Event)


class Entry(msgspec.Struct):
    """A project that is warm: what serves it, when its alias was read last, and the refresh under way."""

    serving: Serving
    checked_at: float
    refresh: Refresh | None = None


def fraction(key: str) -> float:
    """Where a key stands in [0, 1): evenly spread, and the same in every process."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / (1 << 64)

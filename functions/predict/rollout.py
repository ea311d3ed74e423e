"""A candidate beside the champion: what each of the two does is measured, in lines of log and by no call.

A canary answers its share of the requests. Where the recipe limits how often it may disagree, the champion is asked
beside it in each of them. A shadow is asked beside the champion; it may take a tenth of the process's time, and rests
after each request for nine times as long as that took. Both are asked before the answer, since a function is frozen
after it. What a candidate raises is counted and never reaches a client, nor does what goes wrong with a comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from lehr_runtime.predictor import Predictor
from lehr_runtime.tables import Inputs

if TYPE_CHECKING:
    from lehr_runtime.packages import LoadedModel

_REST = 9.0


class Scored(msgspec.Struct, frozen=True):
    """What one version did with one request: `answer` is one number of it, `disagrees` None if nothing was compared."""

    version: str
    has_failed: bool = False
    latency_ms: float = 0.0
    answer: float | None = None
    disagrees: bool | None = None


Report = Callable[[Scored], None]


class CandidateError(Exception):
    """Raised where a canary could not answer: the champion does."""


def watched(model: LoadedModel, report: Report, *, is_candidate: bool = False) -> LoadedModel:
    """The model, whose every answer is reported."""
    return msgspec.structs.replace(
        model, predictor=WatchedPredictor(model.predictor, model.version, report, is_candidate=is_candidate)
    )


def compared(canary: LoadedModel, champion: LoadedModel, report: Report) -> LoadedModel:
    """The canary, whose every answer is reported and compared with the champion's, where the two can be.

    They can where both take the same inputs for the same labels: else a label has another place in each.
    """
    own, others = canary.signature, champion.signature
    if (own.input, own.labels, own.table) != (others.input, others.labels, others.table):
        return watched(canary, report, is_candidate=True)
    beside = WatchedPredictor(
        canary.predictor, canary.version, report, is_candidate=True, champion=champion.predictor
    )
    return msgspec.structs.replace(canary, predictor=beside)


def shadowed(
    model: LoadedModel, shadow: LoadedModel, report: Report, clock: Callable[[], float] = perf_counter
) -> LoadedModel:
    """The model, which is reported, with another that is asked beside it."""
    own = watched(model, report).predictor
    return msgspec.structs.replace(model, predictor=ShadowedPredictor(own, shadow, report, clock))


class WatchedPredictor:
    """In the place of a Predictor; inputs that do not fit are the client's fault and nobody's figure.

    With a `champion` every answer that has labels is compared with what that one would have said.
    """

    def __init__(
        self,
        inner: Predictor,
        version: str,
        report: Report,
        *,
        is_candidate: bool,
        champion: Predictor | None = None,
    ) -> None:
        self._inner, self._version, self._report, self._is_candidate = inner, version, report, is_candidate
        self._champion = champion

    def predict(self, x: Inputs) -> np.ndarray:
        begin = perf_counter()
        try:
            output = self._inner.predict(x)
        except ValueError:
            raise
        except Exception as fault:
            self._report(Scored(self._version, has_failed=True))
            if self._is_candidate:
                raise CandidateError(self._version) from fault
            raise
        elapsed_ms = (perf_counter() - begin) * 1000
        disagrees = self._disagrees(x, output)
        self._report(
            Scored(self._version, latency_ms=elapsed_ms, answer=_number_of(output), disagrees=disagrees)
        )
        return output

    def _disagrees(self, x: Inputs, output: np.ndarray) -> bool | None:
        """None where nothing is compared; also where the champion fails, which says nothing about the canary."""
        if self._champion is None or not _has_labels(output):
            return None
        try:
            return _disagree(self._champion.predict(x), output)
        except Exception:
            return None


class ShadowedPredictor:
    """In the place of a Predictor: its answer is the champion's."""

    def __init__(
        self, champion: Predictor, shadow: LoadedModel, report: Report, clock: Callable[[], float]
    ) -> None:
        self._champion, self._shadow, self._report, self._clock = champion, shadow, report, clock
        self._rests_until = 0.0

    def predict(self, x: Inputs) -> np.ndarray:
        output = self._champion.predict(x)
        if self._clock() >= self._rests_until:
            self._score(x, output)
        return output

    def _score(self, x: Inputs, output: np.ndarray) -> None:
        version, begin = self._shadow.version, self._clock()
        try:
            scored = self._shadow.predictor.predict(x)
            elapsed_ms = (self._clock() - begin) * 1000
            disagrees = _disagree(output, scored)
            self._report(
                Scored(version, latency_ms=elapsed_ms, answer=_number_of(scored), disagrees=disagrees)
            )
        except Exception:  # also inputs that it does not take and the champion does
            self._report(Scored(version, has_failed=True))
        now = self._clock()
        self._rests_until = now + _REST * (now - begin)


def _number_of(output: np.ndarray) -> float | None:
    """The first number of an answer: only whether it ever changes is asked."""
    return float(output.reshape(-1)[0]) if output.size else None


def _disagree(one: np.ndarray, other: np.ndarray) -> bool | None:
    """Whether the likeliest label of any row differs; None where rows have no labels of their own."""
    if not _has_labels(one) or one.shape != other.shape:
        return None
    return bool((one.argmax(axis=1) != other.argmax(axis=1)).any())


def _has_labels(output: np.ndarray) -> bool:
    return output.ndim == 2 and output.shape[1] > 1

"""The catalogue of what makes a run fail, and the one place that looks things up in it.

The order matters: what is more specific stands first, and the first cause whose evidence is all there is taken. What no
cause fits is called unknown, and told with what was seen: a wrong reason costs more than none.
"""

from __future__ import annotations

from collections.abc import Sequence

from lehr.causes import of_cloud, of_data, of_judging, of_training
from lehr.causes.rule import MAX_EXCERPT, Cause, Symptoms, fill
from lehr.contracts.explanation import UNKNOWN, Evidence, Explanation

FAILURES: tuple[Cause, ...] = (
    *of_judging.CAUSES,
    *of_data.CAUSES,
    *of_training.CAUSES,
    *of_cloud.CAUSES,
)
_UNKNOWN = "The catalogue of causes has none that fits what was seen; here is all of it."
_UNKNOWN_NEXT = ("lehr report {run}", "sam logs --stack-name lehr", "lehr resume {run}")
_LAST_LINES = 3


def look_up(seen: Symptoms, kept: Sequence[str] = ()) -> Explanation:
    """The first cause whose evidence is all there, or "unknown" with what was seen."""
    for cause in FAILURES:
        for way in cause.ways:
            found = way.find(seen)
            if found:
                evidence, groups = found
                return _told(cause, seen, evidence, groups, kept)
    return Explanation(
        cause=UNKNOWN,
        sentence=_UNKNOWN,
        evidence=list(_all_of(seen)),
        kept=list(kept),
        next=[fill(command, _names(seen)) for command in _UNKNOWN_NEXT],
    )


def _told(
    cause: Cause, seen: Symptoms, evidence: list[Evidence], groups: dict[str, str], kept: Sequence[str]
) -> Explanation:
    named = _names(seen) | {name: " ".join(text.split())[:80] for name, text in groups.items()}
    return Explanation(
        cause=cause.name,
        sentence=cause.told(named),
        evidence=evidence,
        kept=list(kept),
        next=[fill(command, named) for command in cause.next],
    )


def _names(seen: Symptoms) -> dict[str, str]:
    return {"state": seen.state} | dict(seen.answers)


def _all_of(seen: Symptoms) -> list[Evidence]:
    last = [
        Evidence(source="log", text=line[:MAX_EXCERPT]) for line in seen.log[-_LAST_LINES:] if line.strip()
    ]
    told = [
        Evidence(source="state", text=seen.state[:MAX_EXCERPT]),
        Evidence(source="error", text=seen.error[:MAX_EXCERPT]),
        Evidence(source="reason", text=seen.reason[:MAX_EXCERPT]),
    ]
    return [*(one for one in told if one.text), *last]

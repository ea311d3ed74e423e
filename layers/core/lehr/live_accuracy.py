"""How right the endpoint has been, out of the labels that came afterwards: pure rules over lines of the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import sqrt

from lehr.contracts.feedback import FeedbackLine, LabelledPrediction, LiveAccuracy
from lehr.contracts.recipe_tables import Watch

# Two-sided, for 95 %.
_Z = 1.959963984540054


def live_accuracy(lines: Iterable[FeedbackLine], watch: Watch) -> list[LiveAccuracy]:
    """Of each model version that labels came for, most labelled first; a prediction counts once, by its latest label.

    A version is low only with `min_labels` at least, and if no part of its interval reaches `min_live_accuracy`.
    """
    latest: dict[tuple[str, int], LabelledPrediction] = {}
    for line in sorted(lines, key=lambda one: one.time):
        for one in line.labels:
            latest[one.request_id, one.row] = one
    rows, right = Counter[str](), Counter[str]()
    for one in latest.values():
        rows[one.model_version] += 1
        right[one.model_version] += one.predicted == one.label
    found = []
    for version, count in rows.most_common():
        low, high = wilson_interval(right[version], count)
        found.append(
            LiveAccuracy(
                model_version=version,
                rows=count,
                right=right[version],
                accuracy=right[version] / count,
                low=round(low, 6),
                high=round(high, 6),
                is_low=count >= watch.min_labels and high < watch.min_live_accuracy,
            )
        )
    return found


def wilson_interval(right: int, rows: int) -> tuple[float, float]:
    """The bounds of Wilson's score interval of 95 % for a share. J. Am. Stat. Assoc. 22 (1927)."""
    if not rows:
        return 0.0, 1.0
    share, square = right / rows, _Z * _Z
    centre = share + square / (2 * rows)
    spread = _Z * sqrt(share * (1 - share) / rows + square / (4 * rows * rows))
    scale = 1 + square / rows
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)

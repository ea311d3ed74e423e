"""What tells two dataset versions apart, by their statistics: `lehr data diff`, and drift from a champion's data."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal

from lehr.contracts.document import Document, Part
from lehr.contracts.profile import DatasetStatistics, NumberStatistics


class Change(Part, frozen=True, kw_only=True):
    """One thing that differs: of what kind, of which split, label or column, and both states in words."""

    kind: Literal["schema", "rows", "labels", "numbers", "categories"]
    name: str
    old: str
    new: str
    note: str = ""


class DatasetDifference(Document, frozen=True, kw_only=True):
    """All changes from one version to another, the schema's first; `label_drift` is that of `label_drift()`."""

    schema: Literal[1] = 1
    project: str
    old: str
    new: str
    label_drift: float
    changes: list[Change]


def difference(old: DatasetStatistics, new: DatasetStatistics) -> list[Change]:
    """Everything that changed, in the order in which a person asks."""
    return [
        *schema_changes(old, new),
        *_row_changes(old, new),
        *label_changes(old, new),
        *_number_changes(old, new),
        *_category_changes(old, new),
    ]


def schema_changes(old: DatasetStatistics, new: DatasetStatistics) -> list[Change]:
    """Format, shape, labels and columns that came, went or are of another kind."""
    pairs = [
        ("format", old.format, new.format),
        ("input shape", _shape(old), _shape(new)),
        ("labels", ", ".join(old.labels), ", ".join(new.labels)),
    ]
    changes = [Change(kind="schema", name=name, old=a, new=b) for name, a, b in pairs if a != b]
    kinds = [
        {one.name: "number" for one in version.numbers} | {one.name: "category" for one in version.categories}
        for version in (old, new)
    ]
    for name in kinds[0] | kinds[1]:
        before, after = (side.get(name, "absent") for side in kinds)
        if before != after:
            changes.append(Change(kind="schema", name=f"column {name}", old=before, new=after))
    return changes


def label_changes(old: DatasetStatistics, new: DatasetStatistics) -> list[Change]:
    """Labels whose share of the training rows is another by a tenth of a percentage point or more."""
    before, after = old.class_fractions(), new.class_fractions()
    changes = []
    for label in before | after:
        a, b = before.get(label, 0.0), after.get(label, 0.0)
        if abs(a - b) >= 0.001:
            changes.append(
                Change(
                    kind="labels",
                    name=label,
                    old=f"{a:.2%}",
                    new=f"{b:.2%}",
                    note=f"{100 * (b - a):+.2f} points",
                )
            )
    if old.target and new.target:
        changes += _of_number(old.target, new.target, "labels")
    return changes


def label_drift(old: DatasetStatistics, new: DatasetStatistics) -> float:
    """How far what is predicted has moved. Of labels the total variation distance of their shares of the training rows:
    0 for equal ones, 1 for others altogether. Of a number the shift of its mean, in the old version's spreads.
    """
    if old.target and new.target:
        return abs(new.target.mean - old.target.mean) / (old.target.std or 1.0)
    before, after = old.class_fractions(), new.class_fractions()
    return sum(abs(before.get(label, 0.0) - after.get(label, 0.0)) for label in before | after) / 2


def distribution_distance(old: Sequence[float], new: Sequence[float]) -> float:
    """The Kolmogorov-Smirnov distance of two columns from their quantiles: the most that the shares of rows up to a
    value differ by, to within two of the quantiles' steps."""
    if not old or not new:
        return 0.0
    return max(abs(_share(old, value) - _share(new, value)) for value in (*old, *new))


def _share(quantiles: Sequence[float], value: float) -> float:
    """The share of the rows that is at most `value`."""
    steps = len(quantiles) - 1
    place = bisect_right(quantiles, value) - 1
    if place < 0 or place == steps:
        return 0.0 if place < 0 else 1.0
    low, high = quantiles[place], quantiles[place + 1]
    return (place + (value - low) / (high - low)) / steps


def _row_changes(old: DatasetStatistics, new: DatasetStatistics) -> list[Change]:
    changes = []
    for split in ("train", "validation", "test"):
        a, b = old.rows.get(split, 0), new.rows.get(split, 0)
        if a != b:
            changes.append(Change(kind="rows", name=split, old=f"{a:,}", new=f"{b:,}", note=f"{b - a:+,}"))
    return changes


def _number_changes(old: DatasetStatistics, new: DatasetStatistics) -> list[Change]:
    before = {one.name: one for one in old.numbers}
    return [
        change
        for one in new.numbers
        if one.name in before
        for change in _of_number(before[one.name], one, "numbers")
    ]


def _of_number(
    old: NumberStatistics, new: NumberStatistics, kind: Literal["numbers", "labels"]
) -> list[Change]:
    if old == new:
        return []
    distance = distribution_distance(old.quantiles, new.quantiles)
    return [
        Change(
            kind=kind,
            name=new.name,
            old=_told(old),
            new=_told(new),
            note=f"distributions {distance:.1%} apart",
        )
    ]


def _category_changes(old: DatasetStatistics, new: DatasetStatistics) -> list[Change]:
    before = {one.name: one for one in old.categories}
    changes = []
    for one in new.categories:
        was = before.get(one.name)
        if was is None or was == one:
            continue
        known = {value.value for value in was.top}
        come = [value.value for value in one.top if value.value not in known]
        changes.append(
            Change(
                kind="categories",
                name=one.name,
                old=f"{was.distinct:,} values, {was.missing:,} missing",
                new=f"{one.distinct:,} values, {one.missing:,} missing",
                note=f"new among the commonest: {', '.join(come[:5])}" if come else "",
            )
        )
    return changes


def _told(one: NumberStatistics) -> str:
    missing = f", {one.missing:,} missing" if one.missing else ""
    return f"{one.mean:.5g} ± {one.std:.5g}, {one.min:.5g} to {one.max:.5g}{missing}"


def _shape(version: DatasetStatistics) -> str:
    return " x ".join(map(str, version.input_shape))

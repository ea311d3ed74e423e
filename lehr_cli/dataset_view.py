"""How dataset versions look on a terminal: a line for each version, column, check and change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.text import Text

from lehr.contracts.data_checks import DataChecks
from lehr.contracts.profile import DatasetStatistics, NumberStatistics
from lehr.contracts.registry import DatasetRecord
from lehr.dataset_difference import DatasetDifference

SPLITS = ("train", "validation", "test")
_MARKS = {
    "passed": ("✓ ", "green"),
    "warned": ("! ", "yellow"),
    "quarantined": ("! ", "yellow"),
    "rejected": ("✗ ", "red"),
    "not_checked": ("- ", "dim"),
}
_HEADINGS = {
    "schema": "schema",
    "rows": "rows",
    "labels": "what is predicted, in the training rows",
    "numbers": "columns of numbers: mean ± spread, least to greatest",
    "categories": "columns of categories",
}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_SHOWN = 40


def version_lines(project: str, records: Sequence[DatasetRecord], champion: str) -> Text:
    """A line for each version; `●` marks the one that the champion was trained on."""
    drawn = Text(f"{project}\n", style="bold")
    for record in records:
        serves = record.version == champion
        rows = "  ".join(f"{record.rows.get(split, 0):>9,} {split}" for split in SPLITS)
        drawn.append_text(
            Text.assemble(
                ("● " if serves else "  ", "bold green"),
                (f"{record.version:<17} ", "bold green" if serves else "default"),
                (f"{rows}  ", "default"),
                (f"{_moment(record.created_at)}  run {record.run}", "dim"),
                ("  champion's" if serves else "", "bold green"),
                "\n",
                style="not bold",
            )
        )
    drawn.rstrip()
    return drawn


def statistics_lines(record: DatasetRecord, statistics: DatasetStatistics) -> Text:
    """Rows, labels and columns of a version."""
    drawn = Text.assemble(
        (f"{record.project} {record.version}", "bold"),
        (f"  {_moment(record.created_at)}  run {record.run}\n", "dim"),
        f"    {statistics.format}, input {' x '.join(map(str, statistics.input_shape))}; ",
        ", ".join(f"{statistics.rows.get(split, 0):,} {split}" for split in SPLITS),
        "\n",
    )
    counts = statistics.class_counts.get("train", [])
    most, width = max(counts, default=0) or 1, max(map(len, statistics.labels), default=0)
    for label, count in list(zip(statistics.labels, counts, strict=False))[:_SHOWN]:
        drawn.append_text(
            Text.assemble(
                f"    {label:<{width}} {count:>9,}  ", ("█" * max(1, round(24 * count / most)) + "\n", "cyan")
            )
        )
    if len(counts) > _SHOWN:
        drawn.append(f"    and {len(counts) - _SHOWN} more labels\n", "dim")
    numbers = [*statistics.numbers, *([statistics.target] if statistics.target else [])]
    names = [one.name for one in numbers] + [one.name for one in statistics.categories]
    width = max(map(len, names), default=0)
    for number in numbers[:_SHOWN]:
        drawn.append_text(_number_line(number, width))
    for category in statistics.categories[:_SHOWN]:
        top = ", ".join(f"{one.value} ({one.rows:,})" for one in category.top[:4])
        missing = f", {category.missing:,} missing" if category.missing else ""
        drawn.append(f"    {category.name:<{width}}  {category.distinct:,} values{missing}: {top}\n")
    hidden = max(0, len(numbers) - _SHOWN) + max(0, len(statistics.categories) - _SHOWN)
    if hidden:
        drawn.append(f"    and {hidden} more columns: see --json or the data card\n", "dim")
    drawn.rstrip()
    return drawn


def check_lines(checks: DataChecks) -> Text:
    """Each check with what it found."""
    against = f", against the champion's {checks.compared_with}" if checks.compared_with else ""
    drawn = Text(f"checks of run {checks.run}{against}\n", style="bold")
    for one in checks.results:
        drawn.append_text(
            Text.assemble(
                "    ",
                _MARKS[one.verdict],
                f"{one.check:<13} {one.verdict.replace('_', ' '):<12} {one.observed}",
                (f"  required: {one.required}\n", "dim"),
                style="not bold",
            )
        )
        for detail in one.details:
            drawn.append(f"          {detail}\n", "not bold")
    refused = sum(unit.rows for unit in checks.refused)
    if refused or checks.set_aside:
        drawn.append(
            f"    {refused:,} rows could not be read, {checks.set_aside:,} were set aside by checks\n",
            "not bold dim",
        )
    drawn.rstrip()
    return drawn


def difference_lines(found: DatasetDifference) -> Text:
    """The changes under a heading for each kind."""
    drawn = Text(f"{found.project} {found.old} → {found.new}\n", style="bold")
    if not found.changes:
        drawn.append("    nothing that the statistics would show\n", "not bold")
    for kind, changes in groupby(found.changes, key=lambda change: change.kind):
        drawn.append(f"  {_HEADINGS[kind]}\n", "not bold")
        listed = list(changes)
        width = max(len(change.name) for change in listed)
        for change in listed:
            drawn.append_text(
                Text.assemble(
                    f"    {change.name:<{width}}  ",
                    (change.old, "red"),
                    " → ",
                    (change.new, "green"),
                    (f"  {change.note}" if change.note else "", "dim"),
                    "\n",
                    style="not bold",
                )
            )
    drawn.append(f"  drift of what is predicted: {found.label_drift:.4g}", "not bold")
    return drawn


def _number_line(number: NumberStatistics, width: int) -> Text:
    most = max(number.histogram) or 1
    bars = "".join(
        _BLOCKS[max(1, round(count / most * (len(_BLOCKS) - 1))) if count else 0]
        for count in number.histogram
    )
    missing = f"  {number.missing:,} missing" if number.missing else ""
    return Text.assemble(
        f"    {number.name:<{width}}  ",
        (f"{bars}  ", "cyan"),
        f"{number.mean:.5g} ± {number.std:.5g}",
        (f"  {number.min:.5g} to {number.max:.5g}{missing}\n", "dim"),
    )


def _moment(at: str) -> str:
    return at[:16].replace("T", " ")

"""The data card: what a dataset version consists of, for people who have to trust it. One file, like the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lehr import layout
from lehr.contracts.data_checks import DataChecks
from lehr.contracts.document import Document
from lehr.contracts.profile import DatasetSamples, DatasetStatistics, NumberStatistics
from lehr.errors import ContractError
from lehr.ports import ObjectStore

CARD_TEMPLATE = "data_card.html.j2"
SPLITS = ("train", "validation", "test")
MAX_COLUMNS = 60
MAX_LABELS = 60
MAX_LISTED = 20
MAX_LISTED_BYTES = 64 << 10
# A histogram's own units: a bar of ten, and a hundred high.
BAR, HEIGHT = 10, 100
MARKS = {
    "passed": ("✓ passed", "good"),
    "warned": ("! warned", "rejected"),
    "quarantined": ("! set aside", "rejected"),
    "rejected": ("✗ rejected", "bad"),
    "not_checked": ("· not checked", "dim"),
}
D = TypeVar("D", bound=Document)


def make_environment() -> Environment:
    """Of the templates beside this module: everything is escaped, and a name that is not there is an error."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_card(checks: DataChecks, artifacts: ObjectStore) -> str:
    """Write card.html of the version that was sealed; returns what a saved card is called, empty if there is none."""
    if not checks.version:
        return ""
    project, version = checks.project, checks.version
    statistics = _read(DatasetStatistics, layout.dataset_statistics_key(project, version), artifacts)
    if statistics is None:
        return ""
    samples = _read(DatasetSamples, layout.dataset_samples_key(project, version), artifacts)
    page = render_card(checks, statistics, samples, listed_rows(checks, artifacts))
    key = layout.dataset_card_key(project, version)
    artifacts.put(key, page.encode(), content_type="text/html; charset=utf-8")
    return layout.saved_card_name(project, version)


def render_card(
    checks: DataChecks,
    statistics: DatasetStatistics,
    samples: DatasetSamples | None,
    listed: Sequence[Mapping[str, Any]],
) -> str:
    """The page. Every string of a user's data is escaped."""
    numbers = [*([statistics.target] if statistics.target else []), *statistics.numbers]
    return (
        make_environment()
        .get_template(CARD_TEMPLATE)
        .render(
            checks=checks,
            statistics=statistics,
            summary=summary(checks, statistics),
            rows={split: statistics.rows.get(split, 0) for split in SPLITS},
            marks=MARKS,
            samples=samples.samples if samples else [],
            columns=samples.columns if samples else [],
            labels=_labels(statistics),
            hidden_labels=max(0, len(statistics.labels) - MAX_LABELS),
            numbers=[(one, _bars(one)) for one in numbers[:MAX_COLUMNS]],
            categories=statistics.categories[:MAX_COLUMNS],
            hidden=max(0, len(numbers) - MAX_COLUMNS) + max(0, len(statistics.categories) - MAX_COLUMNS),
            determined=statistics.determined,
            listed=listed,
            refused=sum(unit.rows for unit in checks.refused),
            frame={"bar": BAR, "width": BAR * max(len(one.histogram) for one in numbers) if numbers else 0},
        )
    )


def summary(checks: DataChecks, statistics: DatasetStatistics) -> str:
    """The sentence that stands first."""
    total = sum(statistics.rows.values())
    passed = sum(one.verdict == "passed" for one in checks.results)
    noticed = [one.check for one in checks.results if one.verdict in ("warned", "quarantined")]
    told = f"{total:,} rows; {passed} checks passed"
    if noticed:
        told += f", {len(noticed)} found something: {', '.join(one.replace('_', ' ') for one in noticed)}"
    return told + "."


def listed_rows(checks: DataChecks, artifacts: ObjectStore) -> list[dict[str, Any]]:
    """The first rows in the quarantine: of each file that had some, and of the checks over all data."""
    keys = [unit.key for unit in checks.refused]
    if checks.set_aside:
        keys.append(layout.set_aside_key(checks.project, checks.run))
    lines: list[dict[str, Any]] = []
    for key in keys:
        try:
            raw = artifacts.get_start(key, MAX_LISTED_BYTES)
        except KeyError:  # it has expired
            continue
        whole = raw[: raw.rfind(b"\n") + 1].splitlines()
        lines += [msgspec.json.decode(line) for line in whole[: max(3, MAX_LISTED // len(keys))]]
    return lines[: 3 * MAX_LISTED]


def _read(kind: type[D], key: str, artifacts: ObjectStore) -> D | None:
    try:
        return kind.from_json(artifacts.get(key))
    except (KeyError, ContractError):
        return None


def _bars(number: NumberStatistics) -> list[tuple[int, float, float]]:
    """Of a histogram: left, top and height of each bar that has rows; the least has one to be seen."""
    most = max(number.histogram) or 1
    heights = [max(1.5, HEIGHT * count / most) if count else 0.0 for count in number.histogram]
    return [(BAR * place, HEIGHT - height, height) for place, height in enumerate(heights) if height]


def _labels(statistics: DatasetStatistics) -> list[dict[str, Any]]:
    """Rows of each label by split, and how wide the bar of its training rows is, in percent."""
    training = statistics.class_counts.get("train", [])
    most, total = max(training, default=0) or 1, sum(training) or 1
    return [
        {
            "label": label,
            "counts": {split: statistics.class_counts[split][place] for split in SPLITS},
            "share": training[place] / total,
            "width": 100 * training[place] / most,
        }
        for place, label in enumerate(statistics.labels[:MAX_LABELS])
    ]

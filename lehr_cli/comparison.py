"""Two runs side by side, as plain values: what was read of each becomes rows with both values and their difference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lehr.contracts.evaluation import Decision
from lehr.contracts.package import Lineage
from lehr.contracts.profile import DatasetStatistics
from lehr.contracts.recipe import Recipe
from lehr.contracts.registry import RunRecord
from lehr.contracts.training import TrainingSummary
from lehr.dataset_difference import difference
from lehr_cli.output import duration
from lehr_cli.runs import seconds

Better = Literal["a", "b", ""]
# Figures of which less is better; of the others listed in _MORE more is. Of the rest nobody can tell.
_LESS = {
    "loss",
    "validation loss",
    "log_loss",
    "expected_calibration_error",
    "rmse",
    "mae",
    "validation rmse",
    "validation mae",
}
_MORE = {
    "accuracy",
    "validation accuracy",
    "macro_f1",
    "r2",
    "mean_iou",
    "mean_dice",
    "pixel_accuracy",
    "validation mean_iou",
    "map50",
    "map50_95",
    "validation map50",
}
_NOT_COMPARED = {"hyperparameters", "project", "run", "schema", "dataset_version", "code_sha", "training_job"}


@dataclass(kw_only=True)
class Facts:
    """What is known of one run; None or empty for what it did not come to, or what has expired."""

    record: RunRecord
    recipe: Recipe | None = None
    lineage: Lineage | None = None
    training: TrainingSummary | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    decision: Decision | None = None
    statistics: DatasetStatistics | None = None
    usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing of both runs, as text; `difference` is b less a where both are numbers."""

    name: str
    a: str
    b: str
    difference: str = ""
    better: Better = ""

    @property
    def is_same(self) -> bool:
        return self.a == self.b


@dataclass(frozen=True, kw_only=True)
class Section:
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    a: str
    b: str
    sections: tuple[Section, ...]

    def to_value(self) -> dict[str, Any]:
        return asdict(self)


def compare(a: Facts, b: Facts) -> Comparison:
    """Every section that either run has something to say in."""
    made = {
        "Run": list(_run(a, b)),
        "Data": list(_data(a, b)),
        "Recipe": list(_recipe(a, b)),
        "Training": list(_training(a, b)),
        "Test": list(_test(a, b)),
        "Gate": list(_gate(a, b)),
        "Environment": list(_environment(a, b)),
    }
    return Comparison(
        a=f"{a.record.project}/{a.record.run}",
        b=f"{b.record.project}/{b.record.run}",
        sections=tuple(Section(title=title, rows=tuple(rows)) for title, rows in made.items() if rows),
    )


def number(name: str, a: float | None, b: float | None, *, unit: str = "") -> Row:
    """A row of two numbers: their difference, and which of them is better, where that can be told."""
    both = a is not None and b is not None and math.isfinite(a) and math.isfinite(b)
    gap = b - a if both and a is not None and b is not None else 0.0
    better: Better = ""
    if gap and name in _LESS | _MORE:
        better = "b" if (gap > 0) == (name in _MORE) else "a"
    return Row(
        name=name,
        a=_figure(a, unit),
        b=_figure(b, unit),
        difference=f"{gap:+.6g}{unit}" if gap else "",
        better=better,
    )


def _run(a: Facts, b: Facts) -> Iterator[Row]:
    x, y = a.record, b.record
    yield Row(name="status", a=x.status, b=y.status)
    yield Row(name="started", a=x.started_at, b=y.started_at)
    took = seconds(x), seconds(y)
    shown = ["" if one is None else duration(one) for one in took]
    gap = took[1] - took[0] if took[0] is not None and took[1] is not None else 0.0
    yield Row(name="took", a=shown[0], b=shown[1], difference=f"{gap:+.1f} s" if gap else "")
    yield number("cost", a.usd, b.usd, unit=" USD")
    yield Row(name="model version", a=x.model_version, b=y.model_version)
    if x.resumes or y.resumes:
        yield number("resumes", x.resumes, y.resumes)


def _data(a: Facts, b: Facts) -> Iterator[Row]:
    yield Row(name="dataset version", a=a.record.dataset_version, b=b.record.dataset_version)
    if a.statistics and b.statistics and a.record.dataset_version != b.record.dataset_version:
        for change in difference(a.statistics, b.statistics):
            yield Row(name=f"{change.kind} {change.name}", a=change.old, b=change.new, difference=change.note)


def _recipe(a: Facts, b: Facts) -> Iterator[Row]:
    yield Row(name="code", a=a.record.code_sha, b=b.record.code_sha)
    if a.recipe and b.recipe:
        yield from _differing(dict(_flat(a.recipe.to_value())), dict(_flat(b.recipe.to_value())))
    chosen = [one.lineage.hyperparameters if one.lineage else {} for one in (a, b)]
    for row in _differing(chosen[0], chosen[1]) if all(chosen) else ():
        yield Row(name=f"trained with {row.name}", a=row.a, b=row.b, difference=row.difference)


def _training(a: Facts, b: Facts) -> Iterator[Row]:
    if not a.training and not b.training:
        return
    ends = [_end_of(one.training) for one in (a, b)]
    for name in dict.fromkeys([*ends[0], *ends[1]]):
        yield number(name, ends[0].get(name), ends[1].get(name))
    for name in ("parameters", "training_rows", "seconds"):
        values = [float(getattr(one.training, name)) if one.training else None for one in (a, b)]
        yield number(name.replace("_", " "), values[0], values[1], unit=" s" if name == "seconds" else "")
    rates = [one.training.epochs[-1].samples_per_second if one.training else None for one in (a, b)]
    yield number("samples per second", rates[0], rates[1])


def _end_of(training: TrainingSummary | None) -> dict[str, float | None]:
    """The last points of the curves."""
    if training is None or not training.epochs:
        return {}
    last = training.epochs[-1]
    named = {
        "epochs": float(len(training.epochs)),
        "best epoch": training.best_epoch,
        "loss": last.loss,
        "accuracy": last.accuracy,
    }
    for name in ("loss", "accuracy", "rmse", "mae", "mean_iou", "map50"):
        named[f"validation {name}"] = getattr(last, f"validation_{name}")
    return {name: value for name, value in (named | dict(last.metrics)).items() if value is not None}


def _test(a: Facts, b: Facts) -> Iterator[Row]:
    for name in dict.fromkeys([*a.metrics, *b.metrics]):
        values = a.metrics.get(name), b.metrics.get(name)
        if all(value is None or isinstance(value, int | float) for value in values):
            yield number(name, *values)


def _gate(a: Facts, b: Facts) -> Iterator[Row]:
    rules = [{rule.rule: rule for rule in one.decision.rules} if one.decision else {} for one in (a, b)]
    for name in dict.fromkeys([*rules[0], *rules[1]]):
        told = [
            f"{'✓' if rule.passed else '✗'} {rule.observed}, required {rule.required}" if rule else ""
            for rule in (rules[0].get(name), rules[1].get(name))
        ]
        yield Row(name=name, a=told[0], b=told[1])


def _environment(a: Facts, b: Facts) -> Iterator[Row]:
    known = [dict(_place(one)) for one in (a, b)]
    yield from _differing(known[0], known[1], keep={"instance_type", "image", "device"})


def _place(facts: Facts) -> Iterator[tuple[str, Any]]:
    """On what a model was trained, and with which versions."""
    if facts.lineage:
        told = facts.lineage.to_value()
        yield from ((name, told[name]) for name in told if name not in _NOT_COMPARED)
    if facts.training:
        for name in ("device", "threads", "processes", "precision"):
            yield name, getattr(facts.training, name)
        yield from facts.training.versions.items()


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], keep: set[str] | None = None) -> Iterator[Row]:
    """Only what is not the same in both, but for what is to be shown in any case."""
    for name in dict.fromkeys([*a, *b]):
        x, y = a.get(name, ""), b.get(name, "")
        if x != y or name in (keep or ()):
            yield Row(name=name, a=str(x), b=str(y))


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


def _figure(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.6g}{unit}" if abs(value) < 1e6 else f"{value:,.0f}{unit}"

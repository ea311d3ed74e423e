"""The trials of a run side by side: which, how good, how dear; and the geometry of their two charts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.write_report.charts import LineChart, Tick, line_chart, polyline
from lehr.contracts.cost import RunCost
from lehr.contracts.sweep import Sweep, TrialRecord
from lehr.sweeps import ranked

WIDTH, HEIGHT = 860, 300
SIDE, TOP, BOTTOM = 70, 34, 26
# From this quotient of the largest and the smallest on, equal factors are equal distances.
LOG_FROM = 30.0
SEARCHES = {
    "grid": "a grid",
    "random": "random search",
    "tpe": "TPE",
    "successive_halving": "successive halving",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial of the table; `mark` is "best", "completed", "pruned" or "failed"."""

    trial: str
    mark: str
    note: str
    settings: list[str]
    objective: str
    epochs: int
    usd: float | None


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A vertical axis of the parallel coordinates, at `x` pixels."""

    name: str
    x: float
    ticks: list[Tick]


@dataclass(frozen=True, kw_only=True)
class Path:
    """The line of a trial through all axes, or one curve; `mark` as of its row."""

    trial: str
    mark: str
    points: list[tuple[float, float]]

    @property
    def path(self) -> str:
        return polyline(self.points)


@dataclass(frozen=True, kw_only=True)
class SweepSection:
    """What the page shows of a sweep."""

    summary: str
    keys: list[str]
    objective: str
    rows: list[Row]
    axes: list[Axis]
    lines: list[Path]
    chart: LineChart | None
    curves: list[Path]


def sweep_section(
    sweep: Sweep | None, cost: RunCost | None, *, is_regression: bool = False
) -> SweepSection | None:
    """None where there is nothing to compare."""
    if sweep is None or sweep.count < 2:
        return None
    last = sweep.last()
    marks = {record.id: mark(record, sweep) for record in last}
    order = [*ranked(_by_rung(last), sweep.objective), *(one for one in last if one.objective is None)]
    order.sort(key=lambda record: ("best", "completed", "pruned", "failed").index(marks[record.id]))
    keys = _varied(last)
    axes, lines = _coordinates(last, keys, sweep, marks)
    chart, curves = _curves(last, sweep, marks, is_regression=is_regression)
    return SweepSection(
        summary=_summary(sweep),
        keys=keys,
        objective=sweep.objective.replace("_", " "),
        rows=[_row(record, sweep, keys, marks, cost) for record in order],
        axes=axes,
        lines=lines,
        chart=chart,
        curves=curves,
    )


def mark(record: TrialRecord, sweep: Sweep) -> str:
    """What came of a trial, whose last training this is."""
    if record.status == "failed":
        return "failed"
    if record.name == sweep.best:
        return "best"
    return "pruned" if record.rung < len(sweep.rungs) - 1 else "completed"


def _by_rung(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return sorted(records, key=lambda record: -record.rung)


def _summary(sweep: Sweep) -> str:
    chosen = f", chosen by {SEARCHES[sweep.search]}" if sweep.search else ""
    text = f"{sweep.count} trials{chosen}, compared by {sweep.objective.replace('_', ' ')}."
    if len(sweep.rungs) > 1:
        text += f" They trained for {', '.join(map(str, sweep.rungs[:-1]))} and {sweep.rungs[-1]} epochs;"
        text += " the best of a rung went on to the next, from their checkpoints."
    if sweep.best:
        text += f" Trial {sweep.record(sweep.best).id} is the best."
    return text


def _row(
    record: TrialRecord,
    sweep: Sweep,
    keys: Sequence[str],
    marks: Mapping[str, str],
    cost: RunCost | None,
) -> Row:
    what = marks[record.id]
    notes = {
        "best": "best",
        "completed": "",
        "pruned": f"pruned after {len(record.curve)} of {sweep.rungs[-1] if sweep.rungs else 0} epochs",
        "failed": f"failed: {record.reason}",
    }
    billed = [trial.usd for trial in cost.trials if trial.trial == record.id] if cost else []
    return Row(
        trial=record.id,
        mark=what,
        note=notes[what],
        settings=[text(setting(record, key)) for key in keys],
        objective="" if record.objective is None else f"{record.objective:.4f}",
        epochs=len(record.curve),
        usd=None if not billed or None in billed else sum(one or 0.0 for one in billed),
    )


def setting(record: TrialRecord, key: str) -> Any:
    """A trial's value of a key, from what was chosen or else from what it trained with; None: not said."""
    return record.point.get(key, record.hyperparameters.get(key))


def text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def _varied(records: Sequence[TrialRecord]) -> list[str]:
    """The keys in which trials differ, in the order of the recipe."""
    keys = list(dict.fromkeys(key for record in records for key in record.point))
    return [key for key in keys if len({text(setting(record, key)) for record in records}) > 1]


def _coordinates(
    records: Sequence[TrialRecord], keys: Sequence[str], sweep: Sweep, marks: Mapping[str, str]
) -> tuple[list[Axis], list[Path]]:
    """Axes for the keys and, at the right, the objective, the better end up."""
    names = [*keys, sweep.objective]
    if len(names) < 2:
        return [], []
    columns = [[setting(record, key) for record in records] for key in keys]
    columns.append([record.objective for record in records])
    step = (WIDTH - 2 * SIDE) / (len(names) - 1)
    axes, places = [], []
    for number, (name, values) in enumerate(zip(names, columns, strict=True)):
        is_down = name == "validation_loss" and number == len(names) - 1
        ticks, place = _scale(values, is_down=is_down)
        axes.append(Axis(name=name.replace("_", " "), x=SIDE + number * step, ticks=ticks))
        places.append(place)
    lines = []
    for row, record in enumerate(records):
        values = [column[row] for column in columns]
        points = [
            (axis.x, place(value))
            for axis, place, value in zip(axes, places, values, strict=True)
            if value is not None
        ]
        lines.append(Path(trial=record.id, mark=marks[record.id], points=points))
    return axes, _best_last(lines)


def _scale(values: Sequence[Any], *, is_down: bool) -> tuple[list[Tick], Callable[[Any], float]]:
    """Ticks of an axis and where a value of it lies; what is no number stands in order, evenly."""
    known = [value for value in values if value is not None]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        names = sorted({text(value) for value in known}, key=_natural)
        at = {name: _y(number / max(1, len(names) - 1)) for number, name in enumerate(names)}
        return [Tick(at=y, text=name) for name, y in at.items()], lambda value: at[text(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    is_log = low > 0 and high / low >= LOG_FROM
    scale = math.log if is_log else float
    span = scale(high) - scale(low)

    def place(value: Any) -> float:
        share = (scale(value) - scale(low)) / span if span else 0.5
        return _y(1 - share if is_down else share)

    middle = math.sqrt(low * high) if is_log else (low + high) / 2
    return [Tick(at=place(value), text=f"{value:.3g}") for value in (low, middle, high)], place


def _y(share: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)


def _natural(name: str) -> tuple[int, float | str]:
    """Numbers by their size, also the first of a list, before names."""
    head = name.strip("[]").split(",")[0]
    try:
        return 0, float(head)
    except ValueError:
        return 1, name


def _curves(
    records: Sequence[TrialRecord], sweep: Sweep, marks: Mapping[str, str], *, is_regression: bool
) -> tuple[LineChart | None, list[Path]]:
    """The objective after each epoch, one line for each trial."""
    trained = [record for record in records if record.curve]
    if not trained:
        return None, []
    loss = "squared spreads of the target" if is_regression else "nats"
    units = {
        "validation_loss": loss,
        "validation_accuracy": "share of rows",
        "validation_mean_iou": "of the labels",
        "validation_map50": "at an IoU of 0.5",
    }
    unit = units[sweep.objective]
    title = sweep.objective.replace("_", " ").capitalize()
    chart = line_chart(title, unit, {record.id: record.curve for record in trained})
    curves = [Path(trial=line.name, mark=marks[line.name], points=line.points) for line in chart.lines]
    return chart, _best_last(curves)


def _best_last(paths: list[Path]) -> list[Path]:
    """What is drawn last lies above the others."""
    return sorted(paths, key=lambda path: path.mark == "best")

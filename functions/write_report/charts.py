"""Geometry of the charts: numbers in, coordinates out. The template draws them, so nothing here is markup."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 34


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A mark on an axis: where, in pixels, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve: its points in pixels, and the last value for the legend."""

    name: str
    points: list[tuple[float, float]]
    last: str

    @property
    def path(self) -> str:
        return polyline(self.points)


@dataclass(frozen=True, kw_only=True)
class LineChart:
    """Curves over epochs, with the ticks of both axes."""

    title: str
    unit: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def polyline(points: Sequence[tuple[float, float]]) -> str:
    """The `points` attribute of SVG's element of that name."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def line_chart(title: str, unit: str, series: Mapping[str, Sequence[float]]) -> LineChart:
    """Plot series over epochs 1, 2, … on one pair of axes. Values that are not finite leave a gap out."""
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    low, high, step = nice_range(min(finite, default=0.0), max(finite, default=1.0))
    count = max((len(values) for values in series.values()), default=1)

    def x(index: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (index / (count - 1) if count > 1 else 0.5)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    lines = [
        Line(
            name=name,
            points=[(x(i), y(value)) for i, value in enumerate(values) if math.isfinite(value)],
            last=f"{values[-1]:.4f}" if values else "",
        )
        for name, values in series.items()
    ]
    every = max(1, math.ceil(count / 10))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    marks = round((high - low) / step)
    return LineChart(
        title=title,
        unit=unit,
        lines=lines,
        x_ticks=[Tick(at=x(i), text=str(i + 1)) for i in range(0, count, every)],
        y_ticks=[Tick(at=y(low + i * step), text=f"{low + i * step:.{decimals}f}") for i in range(marks + 1)],
    )


def nice_range(low: float, high: float, marks: int = 5) -> tuple[float, float, float]:
    """A range around [low, high] whose step is 1, 2 or 5 times a power of ten (Heckbert, Graphics Gems, 1990)."""
    span = high - low or abs(high) or 1.0
    raw = span / marks
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw - 1e-12)
    bottom = math.floor(low / step + 1e-9)
    top = max(math.ceil(high / step - 1e-9), bottom + 1)
    return bottom * step, top * step, step


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One field of a confusion matrix; `strength` in [0, 1] is how deep its colour is."""

    count: int
    strength: float
    is_right: bool


def confusion_cells(confusion: Sequence[Sequence[int]]) -> list[list[Cell]]:
    """Right answers are shaded by their share of the row, mistakes by the worst mistake, or none would show."""
    worst = max(
        (count for i, row in enumerate(confusion) for j, count in enumerate(row) if i != j), default=0
    )
    return [
        [
            Cell(
                count=count,
                strength=round(count / (sum(row) or 1) if i == j else math.sqrt(count / (worst or 1)), 3),
                is_right=i == j,
            )
            for j, count in enumerate(row)
        ]
        for i, row in enumerate(confusion)
    ]


def worst_confusions(
    confusion: Sequence[Sequence[int]], labels: Sequence[str], limit: int = 5
) -> list[tuple[str, str, int]]:
    """The commonest mistakes: (true label, predicted label, how often)."""
    mistakes = [
        (labels[i], labels[j], count)
        for i, row in enumerate(confusion)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(mistakes, key=lambda mistake: -mistake[2])[:limit]

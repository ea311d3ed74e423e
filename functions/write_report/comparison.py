"""What the page shows of every task: slices of the test and what answering costs; and how sure a model may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from math import sqrt
from typing import Any

from functions.write_report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Tick
from lehr.contracts.comparison import ComparedReport, ServingFigures, SliceReport
from lehr.contracts.evaluation import ClassificationMetrics, EvaluationReport

# What stands out in the table is divided by the number of slices, as the gate's own level is.
_LEVEL = 0.05
# A bin of one row is drawn as faintly as this; that of the most rows fully.
_FAINTEST = 0.15
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bin of the reliability diagram, in pixels: as high as it is right; `stated` is what it said."""

    x: float
    y: float
    width: float
    height: float
    stated: float
    strength: float
    title: str


def comparison_section(report: ComparedReport | None) -> Mapping[str, Any]:
    """Variables of the templates `comparison.html.j2` and `reliability.html.j2`; none where nothing was judged."""
    if report is None:
        return {"compared": None, "bars": [], "slicings": [], "costs": []}
    bars: list[Bar] = []
    dots: list[tuple[float, float]] = []
    if isinstance(report, EvaluationReport):
        bars = reliability_bars(report.candidate)
        dots = (
            [(_across(one.confidence), _down(one.accuracy)) for one in report.champion.bins]
            if report.champion
            else []
        )
    return {
        "compared": report,
        "bars": bars,
        "champion_dots": dots,
        "share_ticks": [
            (Tick(at=_across(tick), text=f"{tick:g}"), Tick(at=_down(tick), text="")) for tick in _TICKS
        ],
        "slicings": [
            _slicing(by, list(same), _LEVEL / len(report.slices))
            for by, same in groupby(report.slices, lambda one: one.by)
        ],
        "costs": costs(report.candidate_serving, report.champion_serving),
    }


def reliability_bars(metrics: ClassificationMetrics) -> list[Bar]:
    """The bins that have rows, by their largest probability."""
    most = max((one.rows for one in metrics.bins), default=1)
    return [
        Bar(
            x=_across(one.low) + 1,
            y=_down(one.accuracy),
            width=_across(one.high) - _across(one.low) - 2,
            height=_down(0.0) - _down(one.accuracy),
            stated=_down(one.confidence),
            strength=round(_FAINTEST + (1 - _FAINTEST) * sqrt(one.rows / most), 3),
            title=f"{one.rows:,} rows: stated {one.confidence:.3f}, right {one.accuracy:.3f}",
        )
        for one in metrics.bins
    ]


def costs(own: ServingFigures | None, other: ServingFigures | None) -> list[tuple[str, str, str]]:
    """What it is, the candidate's figure, the champion's; none where nothing was measured."""
    if own is None:
        return []

    def told(name: str, figure: Any) -> tuple[str, str, str]:
        return name, figure(own), figure(other) if other else ""

    return [
        told("median of one prediction", lambda one: f"{one.median_ms:.3g} ms"),
        told("99th percentile", lambda one: f"{one.p99_ms:.3g} ms"),
        told("predictions timed", lambda one: f"{one.predictions:,}"),
        told("package", lambda one: f"{one.package_bytes / 1e6:.4g} MB"),
    ]


def _slicing(by: str, slices: list[SliceReport], level: float) -> Mapping[str, Any]:
    return {
        "by": by,
        "measures": slices[0].measures,
        "has_champion": any(one.champion for one in slices),
        "rows": [
            {
                "value": one.value,
                "rows": one.rows,
                "figures": [
                    (f"{one.candidate[name]:.4f}", f"{one.champion[name]:.4f}" if one.champion else "")
                    for name in one.measures
                ],
                "p_loss": "" if one.p_loss is None else f"{one.p_loss:.2g}",
                "is_worse": one.p_loss is not None and one.p_loss <= level,
            }
            for one in slices
        ],
    }


def _across(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def _down(share: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)

"""What the page shows of a model that finds boxes: images with them, curves of precision, and each label's figures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.write_report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Tick, polyline
from lehr.contracts.detection import DetectionMetrics, DetectionReport, LabelPrecision

# More curves than these nobody can tell apart: the mean, and the label with the worst one.
MAX_CURVES = 2


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Precision over recall, as the `points` of a polyline."""

    name: str
    path: str
    figure: str


def detection_section(report: DetectionReport | None) -> Mapping[str, Any]:
    """Variables of the template `detection.html.j2`; none of something else."""
    if report is None:
        return {}
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    return {
        "detection": report,
        "images": [
            {
                "image": f"data:image/png;base64,{base64.b64encode(one.image).decode('ascii')}",
                "truth": one.truth,
                "found": one.found,
            }
            for one in report.examples
        ],
        "curves": curves(report.candidate),
        "recall_ticks": [Tick(at=_across(tick), text=f"{tick:g}") for tick in ticks],
        "precision_ticks": [Tick(at=_down(tick), text=f"{tick:g}") for tick in ticks],
    }


def curves(metrics: DetectionMetrics) -> list[Curve]:
    """The mean over the labels that have a box, and the labels with the least average precision."""
    judged = [one for one in metrics.labels if one.ap50 is not None]
    if not judged:
        return []
    mean = [sum(values) / len(judged) for values in zip(*(one.precision for one in judged), strict=True)]
    worst = sorted(judged, key=_ap50)[: MAX_CURVES - 1] if len(judged) > 1 else []
    return [
        _curve("mean of all labels", mean, metrics.map50),
        *(_curve(one.label, one.precision, _ap50(one)) for one in worst),
    ]


def _ap50(one: LabelPrecision) -> float:
    return one.ap50 or 0.0


def _curve(name: str, precision: Sequence[float], figure: float) -> Curve:
    last = len(precision) - 1
    points = [(_across(place / last), _down(value)) for place, value in enumerate(precision)]
    return Curve(name=name, path=polyline(points), figure=f"{figure:.4f}")


def _across(recall: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * recall


def _down(precision: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - precision)

"""What the page shows of a model that labels pixels: images with their masks, and what is taken for what."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from functions.write_report.charts import confusion_cells
from lehr.contracts.segmentation import SegmentationMetrics, SegmentationReport
from lehr.mask_palette import colour

MAX_MATRIX_LABELS = 26


def segmentation_section(report: SegmentationReport | None) -> Mapping[str, Any]:
    """Variables of the template `segmentation.html.j2`; none of something else."""
    if report is None:
        return {}
    labels = [one.label for one in report.candidate.classes]
    return {
        "segmentation": report,
        "strip": [
            {"image": _inline(one.image), "truth": _inline(one.truth), "predicted": _inline(one.predicted)}
            for one in report.examples
        ],
        "legend": [
            {"label": label, "colour": "#{:02x}{:02x}{:02x}".format(*colour(number))}
            for number, label in enumerate(labels)
        ],
        "matrix": pixel_matrix(report.candidate),
    }


def pixel_matrix(metrics: SegmentationMetrics) -> Mapping[str, Any] | None:
    """Shares of each true label's pixels in per mille, since counts of pixels fill no cell; None of many labels."""
    if len(metrics.classes) > MAX_MATRIX_LABELS:
        return None
    shares = [[round(1000 * count / max(1, sum(row))) for count in row] for row in metrics.confusion]
    return {"labels": [one.label for one in metrics.classes], "rows": confusion_cells(shares)}


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"

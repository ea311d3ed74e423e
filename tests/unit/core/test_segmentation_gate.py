"""The gate of a segmentation: mean IoUs instead of accuracies, the same verdicts."""

from __future__ import annotations

import math

import pytest

from lehr.contracts.gate_tables import Gate
from lehr.contracts.segmentation import SegmentationMetrics, SegmentationReport
from lehr.segmentation_gate import decide_segmentation
from tests.comparisons import CONVINCING


def report(iou: float, champion: float | None = None, *, rows: int = 500) -> SegmentationReport:
    def metrics(value: float) -> SegmentationMetrics:
        return SegmentationMetrics(
            rows=rows,
            pixels=1000,
            mean_iou=value,
            mean_dice=value,
            pixel_accuracy=0.9,
            majority_mean_iou=0.1,
            rows_per_second=1.0,
            confusion=[[1]],
            classes=[],
        )

    return SegmentationReport(
        project="p",
        run="r",
        dataset_version="d",
        candidate_version="c",
        champion_version=None if champion is None else "old",
        candidate=metrics(iou),
        champion=None if champion is None else metrics(champion),
        comparison=None if champion is None else CONVINCING,
    )


@pytest.mark.parametrize(
    ("seen", "policy", "verdict", "words"),
    [
        (report(0.6), Gate(), "promote", "mean IoU 0.6000, no champion yet"),
        (
            report(0.1),
            Gate(),
            "reject",
            "better than the commonest label everywhere: 0.1000, required mean IoU > 0.1",
        ),
        (report(0.6), Gate(min_mean_iou=0.61), "reject", "mean IoU: 0.6000, required >= 0.6100"),
        (report(0.6), Gate(min_mean_iou=0.6), "promote", "mean IoU 0.6"),
        (report(0.6, rows=99), Gate(), "reject", "test images: 99, required >= 100"),
        (report(0.6, 0.6), Gate(), "reject", "better than champion old: 0.6000 (+0.0000)"),
        (report(0.75, 0.5), Gate(min_gain=0.25), "promote", "champion 0.5000"),
        (report(0.74, 0.5), Gate(min_gain=0.25), "reject", "by at least 0.25"),
        (report(0.4, 0.5), Gate(), "reject", "0.4000 (-0.1000)"),
        (report(math.nan, 0.5), Gate(), "reject", "finite metrics"),
    ],
)
def test_a_candidate_is_judged_by_its_mean_iou(
    seen: SegmentationReport, policy: Gate, verdict: str, words: str
) -> None:
    decision = decide_segmentation(seen, policy)
    assert decision.verdict == verdict
    assert words in decision.reason

"""The gate of models that find boxes: what it asks for, and that a tie keeps the champion."""

from __future__ import annotations

import math

import pytest

from lehr.contracts.detection import DetectionMetrics, DetectionReport
from lehr.contracts.gate_tables import Gate
from lehr.detection_gate import decide_detection
from tests.comparisons import CONVINCING


def metrics(map50: float, map50_95: float, rows: int = 500) -> DetectionMetrics:
    return DetectionMetrics(
        rows=rows, truths=900, map50=map50, map50_95=map50_95, rows_per_second=100.0, labels=[]
    )


def report(candidate: DetectionMetrics, champion: DetectionMetrics | None = None) -> DetectionReport:
    return DetectionReport(
        project="pets",
        run="run-1",
        dataset_version="d",
        candidate_version="new",
        champion_version="old" if champion else None,
        candidate=candidate,
        champion=champion,
        comparison=CONVINCING if champion else None,
    )


@pytest.mark.parametrize(
    ("candidate", "champion", "gate", "failed"),
    [
        (metrics(0.9, 0.6), None, Gate(min_map50=0.9), []),
        (metrics(0.9, 0.6), None, Gate(min_map50=0.91), ["mAP at IoU 0.5"]),
        (metrics(0.9, 0.6, rows=99), None, Gate(), ["test images"]),
        (metrics(0.0, 0.0), None, Gate(), ["better than finding nothing"]),
        (metrics(0.8, 0.61), metrics(0.9, 0.60), Gate(), []),
        (metrics(0.9, 0.60), metrics(0.8, 0.60), Gate(), ["better than champion old"]),
        (metrics(0.9, 0.61), metrics(0.9, 0.60), Gate(min_gain=0.02), ["better than champion old"]),
        (metrics(0.9, 0.63), metrics(0.9, 0.60), Gate(min_gain=0.02), []),
        (metrics(math.nan, 0.6), None, Gate(), ["finite metrics", "mAP at IoU 0.5"]),
        (metrics(0.9, math.nan), metrics(0.9, 0.6), Gate(), ["finite metrics", "better than champion old"]),
    ],
)
def test_a_candidate_is_promoted_if_it_finds_enough_and_more_than_the_champion(
    candidate: DetectionMetrics, champion: DetectionMetrics | None, gate: Gate, failed: list[str]
) -> None:
    decision = decide_detection(report(candidate, champion), gate)
    assert [rule.rule for rule in decision.rules if not rule.passed] == failed
    assert decision.verdict == ("reject" if failed else "promote")


def test_the_reason_has_both_figures() -> None:
    decision = decide_detection(report(metrics(0.9, 0.61), metrics(0.8, 0.5)), Gate())
    assert decision.reason.startswith("mAP 0.6100 (0.9000 at IoU 0.5), champion 0.5000")

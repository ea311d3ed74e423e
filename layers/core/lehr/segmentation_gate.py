"""The gate of a model that labels pixels: the rules of `lehr.gate`, of a mean IoU instead of an accuracy."""

from __future__ import annotations

from lehr.contracts.evaluation import Decision
from lehr.contracts.gate_tables import Gate
from lehr.contracts.segmentation import SegmentationReport
from lehr.gate import decision_of
from lehr.gate_rules import (
    against_champion,
    at_least,
    enough,
    every_label,
    finite,
    more_than,
    serving,
    slices,
)


def decide_segmentation(report: SegmentationReport, policy: Gate) -> Decision:
    """Apply `policy` to an evaluation. All rules are always reported, also after one has failed."""
    candidate, champion = report.candidate, report.champion
    rules = [
        finite((candidate.mean_iou, candidate.mean_dice, candidate.pixel_accuracy)),
        enough("test images", candidate.rows, policy.min_test_rows),
        at_least("mean IoU", candidate.mean_iou, policy.min_mean_iou),
    ]
    if policy.min_class_iou:
        ious = {one.label: one.iou for one in candidate.classes}
        rules.append(every_label("IoU", ious, policy.min_class_iou))
    if champion is None:
        rules.append(
            more_than(
                "better than the commonest label everywhere",
                candidate.mean_iou,
                candidate.majority_mean_iou,
                measure="mean IoU",
            )
        )
    else:
        rules += against_champion(report, policy, "mean IoU", candidate.mean_iou, champion.mean_iou)
    rules += slices(report, policy, "mean IoU") + serving(report, policy)
    against = f"champion {champion.mean_iou:.4f}" if champion else "no champion yet"
    return decision_of(rules, f"mean IoU {candidate.mean_iou:.4f}, {against}")

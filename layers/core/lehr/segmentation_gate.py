"""The gate of a model that labels pixels: the rules of `lehr.gate`, of a mean IoU instead of an accuracy."""

from __future__ import annotations

from lehr.contracts.evaluation import Decision
from lehr.contracts.recipe_tables import Gate
from lehr.contracts.segmentation import SegmentationReport
from lehr.gate import decision_of
from lehr.gate_rules import at_least, better_than_champion, enough, finite, more_than


def decide_segmentation(report: SegmentationReport, policy: Gate) -> Decision:
    """Apply `policy` to an evaluation. All rules are always reported, also after one has failed."""
    candidate, champion = report.candidate, report.champion
    rules = [
        finite((candidate.mean_iou, candidate.mean_dice, candidate.pixel_accuracy)),
        enough("test images", candidate.rows, policy.min_test_rows),
        at_least("mean IoU", candidate.mean_iou, policy.min_mean_iou),
        more_than(
            "better than the commonest label everywhere",
            candidate.mean_iou,
            candidate.majority_mean_iou,
            measure="mean IoU",
        )
        if champion is None
        else better_than_champion(
            report.champion_version,
            "mean IoU",
            candidate.mean_iou,
            champion.mean_iou,
            min_gain=policy.min_gain,
        ),
    ]
    against = f"champion {champion.mean_iou:.4f}" if champion else "no champion yet"
    return decision_of(rules, f"mean IoU {candidate.mean_iou:.4f}, {against}")

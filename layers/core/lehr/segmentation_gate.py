"""The gate of a model that labels pixels: the rules of `lehr.gate`, of a mean IoU instead of an accuracy."""

from __future__ import annotations

import math

from lehr.contracts.evaluation import Decision, RuleResult
from lehr.contracts.recipe_tables import Gate
from lehr.contracts.segmentation import SegmentationReport
from lehr.gate import decision_of


def decide_segmentation(report: SegmentationReport, policy: Gate) -> Decision:
    """Apply `policy` to an evaluation. All rules are always reported, also after one has failed."""
    candidate, champion = report.candidate, report.champion
    values = (candidate.mean_iou, candidate.mean_dice, candidate.pixel_accuracy)
    finite = all(map(math.isfinite, values))
    rules = [
        RuleResult(
            rule="finite metrics",
            required="all finite",
            observed="all finite" if finite else "NaN or infinite",
            passed=finite,
        ),
        RuleResult(
            rule="test images",
            required=f">= {policy.min_test_rows}",
            observed=str(candidate.rows),
            passed=candidate.rows >= policy.min_test_rows,
        ),
        RuleResult(
            rule="mean IoU",
            required=f">= {policy.min_mean_iou:.4f}",
            observed=f"{candidate.mean_iou:.4f}",
            passed=candidate.mean_iou >= policy.min_mean_iou,
        ),
    ]
    if champion is None:
        rules.append(
            RuleResult(
                rule="better than the commonest label everywhere",
                required=f"mean IoU > {candidate.majority_mean_iou:.4f}",
                observed=f"{candidate.mean_iou:.4f}",
                passed=candidate.mean_iou > candidate.majority_mean_iou,
            )
        )
    else:
        # As of accuracies: a gain of exactly min_gain passes only when min_gain is above zero.
        gain = candidate.mean_iou - champion.mean_iou
        rules.append(
            RuleResult(
                rule=f"better than champion {report.champion_version}",
                required=f"mean IoU > {champion.mean_iou:.4f}"
                + (f" by at least {policy.min_gain:.4f}" if policy.min_gain else ""),
                observed=f"{candidate.mean_iou:.4f} ({gain:+.4f})",
                passed=gain > 0 and gain >= policy.min_gain,
            )
        )
    against = f"champion {champion.mean_iou:.4f}" if champion else "no champion yet"
    return decision_of(rules, f"mean IoU {candidate.mean_iou:.4f}, {against}")

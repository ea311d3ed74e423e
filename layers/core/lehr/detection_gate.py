"""The gate of a model that finds boxes: the rules of `lehr.gate`, of mean average precision instead of an accuracy.

What is asked for at least is mAP at an IoU of 0.5, which says whether objects are found; candidate and champion are
compared by COCO's mAP, the mean over IoUs of 0.5 to 0.95, which also says how well.
"""

from __future__ import annotations

import math

from lehr.contracts.detection import DetectionReport
from lehr.contracts.evaluation import Decision, RuleResult
from lehr.contracts.recipe_tables import Gate
from lehr.gate import decision_of


def decide_detection(report: DetectionReport, policy: Gate) -> Decision:
    """Apply `policy` to an evaluation. All rules are always reported, also after one has failed."""
    candidate, champion = report.candidate, report.champion
    finite = all(map(math.isfinite, (candidate.map50, candidate.map50_95)))
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
            rule="mAP at IoU 0.5",
            required=f">= {policy.min_map50:.4f}",
            observed=f"{candidate.map50:.4f}",
            passed=candidate.map50 >= policy.min_map50,
        ),
    ]
    if champion is None:
        rules.append(
            RuleResult(
                rule="better than finding nothing",
                required="mAP > 0",
                observed=f"{candidate.map50_95:.4f}",
                passed=candidate.map50_95 > 0,
            )
        )
    else:
        # As of accuracies: a gain of exactly min_gain passes only when min_gain is above zero.
        gain = candidate.map50_95 - champion.map50_95
        rules.append(
            RuleResult(
                rule=f"better than champion {report.champion_version}",
                required=f"mAP > {champion.map50_95:.4f}"
                + (f" by at least {policy.min_gain:.4f}" if policy.min_gain else ""),
                observed=f"{candidate.map50_95:.4f} ({gain:+.4f})",
                passed=gain > 0 and gain >= policy.min_gain,
            )
        )
    against = f"champion {champion.map50_95:.4f}" if champion else "no champion yet"
    return decision_of(rules, f"mAP {candidate.map50_95:.4f} ({candidate.map50:.4f} at IoU 0.5), {against}")

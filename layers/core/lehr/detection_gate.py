"""The gate of a model that finds boxes: the rules of `lehr.gate`, of mean average precision instead of an accuracy.

What is asked for at least is mAP at an IoU of 0.5, which says whether objects are found; candidate and champion are
compared by COCO's mAP, the mean over IoUs of 0.5 to 0.95, which also says how well.
"""

from __future__ import annotations

from lehr.contracts.detection import DetectionReport
from lehr.contracts.evaluation import Decision
from lehr.contracts.recipe_tables import Gate
from lehr.gate import decision_of
from lehr.gate_rules import at_least, better_than_champion, enough, finite, more_than


def decide_detection(report: DetectionReport, policy: Gate) -> Decision:
    """Apply `policy` to an evaluation. All rules are always reported, also after one has failed."""
    candidate, champion = report.candidate, report.champion
    rules = [
        finite((candidate.map50, candidate.map50_95)),
        enough("test images", candidate.rows, policy.min_test_rows),
        at_least("mAP at IoU 0.5", candidate.map50, policy.min_map50),
        more_than("better than finding nothing", candidate.map50_95, 0.0, measure="mAP")
        if champion is None
        else better_than_champion(
            report.champion_version,
            "mAP",
            candidate.map50_95,
            champion.map50_95,
            min_gain=policy.min_gain,
        ),
    ]
    against = f"champion {champion.map50_95:.4f}" if champion else "no champion yet"
    return decision_of(rules, f"mAP {candidate.map50_95:.4f} ({candidate.map50:.4f} at IoU 0.5), {against}")

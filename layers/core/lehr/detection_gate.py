"""The gate of a model that finds boxes: the rules of `lehr.gate`, of mean average precision instead of an accuracy.

What is asked for at least is mAP at an IoU of 0.5, which says whether objects are found; candidate and champion are
compared by COCO's mAP, the mean over IoUs of 0.5 to 0.95, which also says how well.
"""

from __future__ import annotations

from lehr.contracts.detection import DetectionReport
from lehr.contracts.evaluation import Decision
from lehr.contracts.gate_tables import Gate
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


def decide_detection(report: DetectionReport, policy: Gate) -> Decision:
    """Apply `policy` to an evaluation. All rules are always reported, also after one has failed."""
    candidate, champion = report.candidate, report.champion
    rules = [
        finite((candidate.map50, candidate.map50_95)),
        enough("test images", candidate.rows, policy.min_test_rows),
        at_least("mAP at IoU 0.5", candidate.map50, policy.min_map50),
    ]
    if policy.min_class_ap50:
        precisions = {one.label: one.ap50 for one in candidate.labels}
        rules.append(every_label("AP at IoU 0.5", precisions, policy.min_class_ap50))
    if champion is None:
        rules.append(more_than("better than finding nothing", candidate.map50_95, 0.0, measure="mAP"))
    else:
        rules += against_champion(report, policy, "mAP", candidate.map50_95, champion.map50_95)
    rules += slices(report, policy, "mAP at IoU 0.5") + serving(report, policy)
    against = f"champion {champion.map50_95:.4f}" if champion else "no champion yet"
    return decision_of(rules, f"mAP {candidate.map50_95:.4f} ({candidate.map50:.4f} at IoU 0.5), {against}")

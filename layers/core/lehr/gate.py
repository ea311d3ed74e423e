"""The gate: whether a candidate has earned its place. Pure; every rule states its numbers.

A rule passes only if its comparison is true, so that NaN never passes; a tie keeps the champion.
"""

from __future__ import annotations

from lehr.contracts.evaluation import Decision, EvaluationReport, RuleResult
from lehr.contracts.gate_tables import Gate
from lehr.gate_rules import (
    against_champion,
    at_least,
    at_most,
    enough,
    every_label,
    finite,
    more_than,
    serving,
    slices,
)


def decide(report: EvaluationReport, policy: Gate) -> Decision:
    """Apply `policy` to an evaluation. All rules are always reported, also after one has failed."""
    candidate, champion = report.candidate, report.champion
    rules = [
        finite((candidate.accuracy, candidate.macro_f1), errors=(candidate.log_loss,)),
        enough("test rows", candidate.rows, policy.min_test_rows),
        at_least("accuracy", candidate.accuracy, policy.min_accuracy),
    ]
    if policy.min_class_recall:
        recalls = {one.label: one.recall if one.support else None for one in candidate.classes}
        rules.append(every_label("recall", recalls, policy.min_class_recall))
    if policy.max_ece is not None:
        rules.append(
            at_most("expected calibration error", candidate.expected_calibration_error, policy.max_ece)
        )
    if champion is None:
        rules.append(
            more_than("better than the majority class", candidate.accuracy, candidate.majority_share)
        )
    else:
        rules += against_champion(report, policy, "accuracy", candidate.accuracy, champion.accuracy)
    rules += slices(report, policy, "accuracy") + serving(report, policy)
    against = f"champion {champion.accuracy:.4f}" if champion else "no champion yet"
    return decision_of(rules, f"accuracy {candidate.accuracy:.4f}, {against}")


def decision_of(rules: list[RuleResult], figures: str) -> Decision:
    """What follows from the rules; `figures` are what a promotion is told with."""
    failed = [rule for rule in rules if not rule.passed]
    if failed:
        reason = "; ".join(f"{rule.rule}: {rule.observed}, required {rule.required}" for rule in failed)
        return Decision(verdict="reject", reason=reason, rules=rules)
    return Decision(verdict="promote", reason=f"{figures}; all rules passed", rules=rules)

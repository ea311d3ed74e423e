"""The gate: whether a candidate has earned its place. Pure; every rule states its numbers.

A rule passes only if its comparison is true, so that NaN never passes; a tie keeps the champion.
"""

from __future__ import annotations

from lehr.contracts.evaluation import Decision, EvaluationReport, RuleResult
from lehr.contracts.recipe_tables import Gate
from lehr.gate_rules import at_least, better_than_champion, enough, finite, more_than


def decide(report: EvaluationReport, policy: Gate) -> Decision:
    """Apply `policy` to an evaluation. All rules are always reported, also after one has failed."""
    candidate, champion = report.candidate, report.champion
    rules = [
        finite((candidate.accuracy, candidate.log_loss, candidate.macro_f1)),
        enough("test rows", candidate.rows, policy.min_test_rows),
        at_least("accuracy", candidate.accuracy, policy.min_accuracy),
        more_than("better than the majority class", candidate.accuracy, candidate.majority_share)
        if champion is None
        else better_than_champion(
            report.champion_version,
            "accuracy",
            candidate.accuracy,
            champion.accuracy,
            min_gain=policy.min_gain,
        ),
    ]
    against = f"champion {champion.accuracy:.4f}" if champion else "no champion yet"
    return decision_of(rules, f"accuracy {candidate.accuracy:.4f}, {against}")


def decision_of(rules: list[RuleResult], figures: str) -> Decision:
    """What follows from the rules; `figures` are what a promotion is told with."""
    failed = [rule for rule in rules if not rule.passed]
    if failed:
        reason = "; ".join(f"{rule.rule}: {rule.observed}, required {rule.required}" for rule in failed)
        return Decision(verdict="reject", reason=reason, rules=rules)
    return Decision(verdict="promote", reason=f"{figures}; all rules passed", rules=rules)

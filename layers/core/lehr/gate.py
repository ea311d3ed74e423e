"""The gate: whether a candidate has earned its place. Pure; every rule states its numbers.

A rule passes only if its comparison is true, so that NaN never passes; a tie keeps the champion.
"""

from __future__ import annotations

import math

from lehr.contracts.evaluation import Decision, EvaluationReport, RuleResult
from lehr.contracts.recipe_tables import Gate


def decide(report: EvaluationReport, policy: Gate) -> Decision:
    """Apply `policy` to an evaluation. All rules are always reported, also after one has failed."""
    candidate, champion = report.candidate, report.champion
    finite = all(
        math.isfinite(value) for value in (candidate.accuracy, candidate.log_loss, candidate.macro_f1)
    )
    rules = [
        _rule("finite metrics", "all finite", "all finite" if finite else "NaN or infinite", finite),
        _rule(
            "test rows",
            f">= {policy.min_test_rows}",
            str(candidate.rows),
            candidate.rows >= policy.min_test_rows,
        ),
        _rule(
            "accuracy",
            f">= {policy.min_accuracy:.4f}",
            f"{candidate.accuracy:.4f}",
            candidate.accuracy >= policy.min_accuracy,
        ),
    ]
    if champion is None:
        rules.append(
            _rule(
                "better than the majority class",
                f"> {candidate.majority_share:.4f}",
                f"{candidate.accuracy:.4f}",
                candidate.accuracy > candidate.majority_share,
            )
        )
    else:
        # A gain of exactly min_gain passes only when min_gain is above zero: with zero, a tie keeps the champion.
        gain = candidate.accuracy - champion.accuracy
        rules.append(
            _rule(
                f"better than champion {report.champion_version}",
                f"accuracy > {champion.accuracy:.4f}"
                + (f" by at least {policy.min_gain:.4f}" if policy.min_gain else ""),
                f"{candidate.accuracy:.4f} ({gain:+.4f})",
                gain > 0 and gain >= policy.min_gain,
            )
        )
    against = f"champion {champion.accuracy:.4f}" if champion else "no champion yet"
    return decision_of(rules, f"accuracy {candidate.accuracy:.4f}, {against}")


def decision_of(rules: list[RuleResult], figures: str) -> Decision:
    """What follows from the rules; `figures` are what a promotion is told with."""
    failed = [rule for rule in rules if not rule.passed]
    if failed:
        reason = "; ".join(f"{rule.rule}: {rule.observed}, required {rule.required}" for rule in failed)
        return Decision(verdict="reject", reason=reason, rules=rules)
    return Decision(verdict="promote", reason=f"{figures}; all rules passed", rules=rules)


def _rule(rule: str, required: str, observed: str, passed: bool) -> RuleResult:
    return RuleResult(rule=rule, required=required, observed=observed, passed=passed)

"""The gate of a model that predicts a number: the rules of `lehr.gate`, of an error instead of an accuracy."""

from __future__ import annotations

from lehr.contracts.evaluation import Decision, RuleResult
from lehr.contracts.gate_tables import Gate
from lehr.contracts.regression import RegressionReport
from lehr.gate import decision_of
from lehr.gate_rules import against_champion, at_most, enough, finite, serving, slices


def decide_regression(report: RegressionReport, policy: Gate) -> Decision:
    """Apply `policy` to an evaluation. All rules are always reported, also after one has failed."""
    candidate, champion = report.candidate, report.champion
    rules = [
        finite(errors=(candidate.rmse, candidate.mae)),
        enough("test rows", candidate.rows, policy.min_test_rows),
    ]
    if policy.max_rmse is not None:
        rules.append(at_most("RMSE", candidate.rmse, policy.max_rmse))
    if champion is None:
        rules.append(
            RuleResult(
                rule="better than the mean of the target",
                required=f"RMSE < {candidate.target_std:.6g}",
                observed=f"{candidate.rmse:.6g}",
                passed=candidate.rmse < candidate.target_std,
            )
        )
    else:
        rules += against_champion(report, policy, "RMSE", candidate.rmse, champion.rmse, is_error=True)
    rules += slices(report, policy, "RMSE", is_error=True) + serving(report, policy)
    against = f"champion {champion.rmse:.6g}" if champion else "no champion yet"
    return decision_of(rules, f"RMSE {candidate.rmse:.6g}, {against}")

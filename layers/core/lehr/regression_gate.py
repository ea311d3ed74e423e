"""The gate of a model that predicts a number: the rules of `lehr.gate`, of an error instead of an accuracy."""

from __future__ import annotations

from lehr.contracts.evaluation import Decision, RuleResult
from lehr.contracts.recipe_tables import Gate
from lehr.contracts.regression import RegressionReport
from lehr.gate import decision_of
from lehr.gate_rules import enough, finite


def decide_regression(report: RegressionReport, policy: Gate) -> Decision:
    """Apply `policy` to an evaluation. All rules are always reported, also after one has failed."""
    candidate, champion = report.candidate, report.champion
    rules = [
        finite((candidate.rmse, candidate.mae)),
        enough("test rows", candidate.rows, policy.min_test_rows),
    ]
    if policy.max_rmse is not None:
        rules.append(
            RuleResult(
                rule="RMSE",
                required=f"<= {policy.max_rmse:.6g}",
                observed=f"{candidate.rmse:.6g}",
                passed=candidate.rmse <= policy.max_rmse,
            )
        )
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
        # As of accuracies: a gain of exactly min_gain passes only when min_gain is above zero.
        gain = champion.rmse - candidate.rmse
        rules.append(
            RuleResult(
                rule=f"better than champion {report.champion_version}",
                required=f"RMSE < {champion.rmse:.6g}"
                + (f" by at least {policy.min_gain:.6g}" if policy.min_gain else ""),
                observed=f"{candidate.rmse:.6g} ({-gain:+.6g})",
                passed=gain > 0 and gain >= policy.min_gain,
            )
        )
    against = f"champion {champion.rmse:.6g}" if champion else "no champion yet"
    return decision_of(rules, f"RMSE {candidate.rmse:.6g}, {against}")

"""The rules that every gate has, each with its numbers. One passes only if its comparison is true: NaN never does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from lehr.contracts.comparison import REPLICATES, ComparedReport, Comparison
from lehr.contracts.evaluation import RuleResult
from lehr.contracts.gate_tables import Gate


def finite(shares: Iterable[float] = (), errors: Iterable[float] = ()) -> RuleResult:
    """Whether every metric is a number that it can be: `shares` are from 0 to 1, `errors` are not below 0.

    Beyond that something was counted wrongly, and what was may pass for a gain.
    """
    most = [(share, 1.0) for share in shares] + [(error, math.inf) for error in errors]
    are_finite = all(math.isfinite(value) for value, _ in most)
    are_possible = all(0 <= value <= highest for value, highest in most)
    return RuleResult(
        rule="finite metrics",
        required="all finite",
        observed="NaN or infinite" if not are_finite else "all finite" if are_possible else "out of range",
        passed=are_finite and are_possible,
    )


def enough(what: str, rows: int, least: int) -> RuleResult:
    return RuleResult(rule=what, required=f">= {least}", observed=str(rows), passed=rows >= least)


def at_least(measure: str, value: float, least: float) -> RuleResult:
    return RuleResult(
        rule=measure, required=f">= {least:.4f}", observed=f"{value:.4f}", passed=value >= least
    )


def more_than(rule: str, value: float, other: float, *, measure: str = "") -> RuleResult:
    """Of a first model: more than what needs no learning."""
    required = f"{measure} > {other:.4f}".strip()
    return RuleResult(rule=rule, required=required, observed=f"{value:.4f}", passed=value > other)


def at_most(measure: str, value: float, most: float) -> RuleResult:
    return RuleResult(rule=measure, required=f"<= {most:.6g}", observed=f"{value:.6g}", passed=value <= most)


def every_label(measure: str, values: Mapping[str, float | None], least: float) -> RuleResult:
    """The label with the least; one that the test says nothing of (None) has not reached anything."""
    known = {label: value for label, value in values.items() if value is not None}
    untold = [label for label in values if label not in known]
    worst = min(known, key=lambda label: known[label], default="")
    observed = f"lowest {known[worst]:.4f}, of {worst}" if known else ""
    if untold:
        observed = f"{untold[0]} is nowhere in the test"
    return RuleResult(
        rule=f"{measure} of every label",
        required=f">= {least:.4f}",
        observed=observed or "no labels",
        passed=bool(known) and not untold and all(value >= least for value in known.values()),
    )


def against_champion(
    report: ComparedReport, policy: Gate, measure: str, value: float, other: float, *, is_error: bool = False
) -> list[RuleResult]:
    """Better on the test, and what chance has to do with it.

    A gain of exactly `min_gain` passes only when that is above zero: with zero, a tie keeps the champion.
    """
    gain, digits = (other - value, ".6g") if is_error else (value - other, ".4f")
    asked = f" by at least {policy.min_gain:{digits}}" if policy.min_gain else ""
    better = RuleResult(
        rule=f"better than champion {report.champion_version}",
        required=f"{measure} {'<' if is_error else '>'} {other:{digits}}{asked}",
        observed=f"{value:{digits}} ({value - other:+{digits}})",
        passed=gain > 0 and gain >= policy.min_gain,
    )
    return [better, evidence(report.comparison, policy)]


def evidence(comparison: Comparison | None, policy: Gate) -> RuleResult:
    """Whether the gain is more than chance explains; or, where "measured" is enough, that there is no such loss."""
    level, is_strict = policy.significance, policy.evidence == "significant"
    rule = "more than chance explains" if is_strict else "no significant loss"
    required = f"p of the gain <= {level:g}" if is_strict else f"p of a loss > {level:g}"
    if comparison is None:
        return RuleResult(rule=rule, required=required, observed="not compared row by row", passed=False)
    p = comparison.p_gain if is_strict else comparison.p_loss
    passed = p <= level if is_strict else p > level
    observed = f"p = {p:.2g} ({_method(comparison)})"
    if is_strict and not passed and comparison.rows_to_tell is not None:
        observed += f"; about {comparison.rows_to_tell:,} test rows would tell such a gain"
    return RuleResult(rule=rule, required=required, observed=observed, passed=passed)


def _method(comparison: Comparison) -> str:
    if comparison.method == "mcnemar":
        return (
            f"McNemar's test, {comparison.only_candidate:,} rows right by the candidate alone, "
            f"{comparison.only_champion:,} by the champion"
        )
    least = comparison.gain_at_least
    bound = "" if least is None else f", gain at least {least:+.4g} at 95 %"
    return f"paired bootstrap of {comparison.measure}{bound}"


def slices(report: ComparedReport, policy: Gate, measure: str, *, is_error: bool = False) -> list[RuleResult]:
    """That no slice is significantly worse than under the champion, and that each reaches what is asked of it.

    Of many slices one is worse by chance: the level is divided by their number (Bonferroni), as far as a bootstrap can
    tell: beyond fifty slices, by default, it stays at the least p that there is.
    """
    judged = [one for one in report.slices if one.rows >= policy.min_slice_rows]
    rules = []
    compared = [(one.p_loss, one) for one in judged if one.p_loss is not None]
    if report.slices and report.champion_version is not None:
        level = max(policy.significance / max(1, len(compared)), 1 / (1 + REPLICATES))
        observed = f"no slice has {policy.min_slice_rows} rows"
        if compared:
            p, worst = min(compared, key=lambda pair: pair[0])
            observed = f"lowest p = {p:.2g}, {worst.by} {worst.value}"
        rules.append(
            RuleResult(
                rule="no slice significantly worse",
                required=f"p of a loss > {level:.2g} in each of {len(compared)}",
                observed=observed,
                passed=all(p > level for p, _ in compared),
            )
        )
    for by, floor in policy.slices.items():
        values = {one.value: one.candidate.get(measure, math.nan) for one in judged if one.by == by}
        small = sum(one.by == by for one in report.slices) - len(values)
        pick = max if is_error else min
        worst_value = pick(values, key=lambda value: values[value], default="")
        digits = ".6g" if is_error else ".4f"
        observed = (
            f"{'highest' if is_error else 'lowest'} {values[worst_value]:{digits}}, {worst_value}"
            if values
            else "none"
        )
        if small:
            observed += f"; {small} of fewer than {policy.min_slice_rows} rows not judged"
        rules.append(
            RuleResult(
                rule=f"every slice of {by}",
                required=f"{measure} {'<=' if is_error else '>='} {floor:{digits}}",
                observed=observed,
                passed=bool(values)
                and all(value <= floor if is_error else value >= floor for value in values.values()),
            )
        )
    return rules


def serving(report: ComparedReport, policy: Gate) -> list[RuleResult]:
    """What answering may cost; what was never measured passes no limit."""
    own, other = report.candidate_serving, report.champion_serving
    rules = []
    if policy.max_latency_ms is not None:
        rules.append(
            RuleResult(
                rule="latency, 99th percentile",
                required=f"<= {policy.max_latency_ms:g} ms",
                observed=f"{own.p99_ms:.3g} ms of {own.predictions:,} predictions" if own else "not measured",
                passed=own is not None and own.p99_ms <= policy.max_latency_ms,
            )
        )
    if policy.max_latency_ratio is not None and report.champion_version is not None:
        ratio = own.median_ms / other.median_ms if own and other and other.median_ms > 0 else math.nan
        rules.append(
            RuleResult(
                rule="latency against the champion",
                required=f"<= {policy.max_latency_ratio:g} times its median",
                observed=f"{ratio:.2f} times, {own.median_ms:.3g} ms" if own and other else "not measured",
                passed=ratio <= policy.max_latency_ratio,
            )
        )
    if policy.max_package_mb is not None:
        size = own.package_bytes / 1e6 if own else math.nan
        rules.append(
            RuleResult(
                rule="package size",
                required=f"<= {policy.max_package_mb:g} MB",
                observed=f"{size:.4g} MB" if own else "not measured",
                passed=size <= policy.max_package_mb,
            )
        )
    return rules

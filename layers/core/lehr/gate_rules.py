"""The rules that every gate has, each with its numbers. One passes only if its comparison is true: NaN never does."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lehr.contracts.evaluation import RuleResult


def finite(values: Iterable[float]) -> RuleResult:
    """Whether every metric is a number."""
    are_finite = all(map(math.isfinite, values))
    return RuleResult(
        rule="finite metrics",
        required="all finite",
        observed="all finite" if are_finite else "NaN or infinite",
        passed=are_finite,
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


def better_than_champion(
    version: str | None, measure: str, value: float, other: float, *, min_gain: float
) -> RuleResult:
    """A gain of exactly `min_gain` passes only when that is above zero: with zero, a tie keeps the champion."""
    gain = value - other
    return RuleResult(
        rule=f"better than champion {version}",
        required=f"{measure} > {other:.4f}" + (f" by at least {min_gain:.4f}" if min_gain else ""),
        observed=f"{value:.4f} ({gain:+.4f})",
        passed=gain > 0 and gain >= min_gain,
    )

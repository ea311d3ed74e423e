"""What a gate asks for beside quality: evidence, every label, every slice, latency and size. NaN passes none of it."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr.contracts.comparison import Comparison, ServingFigures, SliceReport
from lehr.contracts.evaluation import ClassReport, EvaluationReport, PairedCounts
from lehr.contracts.gate_tables import Gate
from lehr.gate import decide
from lehr.gate_rules import every_label, evidence
from lehr.significance import mcnemar
from tests.comparisons import CONVINCING, comparison
from tests.unit.core.test_gate import metrics, report


def failed(seen: EvaluationReport, **policy: Any) -> list[str]:
    return [rule.rule for rule in decide(seen, Gate(**policy)).rules if not rule.passed]


def better(**changes: Any) -> EvaluationReport:
    return report(metrics(0.96), metrics(0.95), **changes)


def cut(
    value: str, accuracy: float, rows: int = 100, p_loss: float | None = 0.9, by: str = "hour"
) -> SliceReport:
    champion = None if p_loss is None else {"accuracy": 0.9}
    return SliceReport(
        by=by,
        value=value,
        rows=rows,
        measures=["accuracy"],
        candidate={"accuracy": accuracy},
        champion=champion,
        p_loss=p_loss,
    )


def serving(median_ms: float = 2.0, p99_ms: float = 9.0, package_bytes: int = 4_000_000) -> ServingFigures:
    return ServingFigures(predictions=200, median_ms=median_ms, p99_ms=p99_ms, package_bytes=package_bytes)


# --- evidence


@pytest.mark.parametrize(
    ("compared", "policy", "passed"),
    [
        (comparison(0.05), Gate(), True),
        (comparison(0.051), Gate(), False),
        (comparison(0.051), Gate(significance=0.1), True),
        (comparison(math.nan), Gate(), False),
        (None, Gate(), False),
        (comparison(0.6), Gate(evidence="measured"), True),
        (comparison(0.96), Gate(evidence="measured"), False),
        (comparison(0.5, math.nan), Gate(evidence="measured"), False),
        (None, Gate(evidence="measured"), False),
    ],
)
def test_a_gain_has_to_be_more_than_chance_explains(
    compared: Comparison | None, policy: Gate, passed: bool
) -> None:
    assert evidence(compared, policy).passed == passed


def test_the_rule_says_on_what_it_rests_and_how_many_rows_would_tell() -> None:
    told = mcnemar(PairedCounts(both=900, only_candidate=30, only_champion=20, neither=50))
    rule = evidence(told, Gate())
    assert rule.observed.startswith(
        "p = 0.1 (McNemar's test, 30 rows right by the candidate alone, 20 by the champion)"
    )
    assert f"about {told.rows_to_tell:,} test rows would tell such a gain" in rule.observed
    bound = msgspec.structs.replace(CONVINCING, gain_at_least=0.25)
    assert (
        evidence(bound, Gate()).observed
        == "p = 0.0001 (paired bootstrap of RMSE, gain at least +0.25 at 95 %)"
    )


def test_better_on_the_test_is_asked_for_beside_the_evidence() -> None:
    tie = report(metrics(0.95), metrics(0.95), comparison=CONVINCING)
    assert failed(tie) == ["better than champion old"]
    assert failed(better(comparison=comparison(0.2))) == ["more than chance explains"]
    assert failed(better(comparison=comparison(0.2)), evidence="measured") == []


# --- every label


@pytest.mark.parametrize(
    ("values", "passed", "observed"),
    [
        ({"cat": 0.8, "dog": 0.9}, True, "lowest 0.8000, of cat"),
        ({"cat": 0.79, "dog": 0.9}, False, "lowest 0.7900, of cat"),
        ({"cat": 0.9, "dog": None}, False, "dog is nowhere in the test"),
        ({"cat": math.nan, "dog": 0.9}, False, ""),
        ({"dog": 0.9, "cat": math.nan}, False, ""),
        ({}, False, "no labels"),
    ],
)
def test_the_worst_label_decides(values: dict[str, float | None], passed: bool, observed: str) -> None:
    rule = every_label("recall", values, 0.8)
    assert (rule.passed, rule.rule) == (passed, "recall of every label")
    assert observed in rule.observed


def test_a_classification_is_held_to_recall_and_calibration() -> None:
    classes = [
        ClassReport(label=label, precision=1.0, recall=recall, f1=1.0, support=support)
        for label, recall, support in (("cat", 0.9, 10), ("dog", 0.6, 10))
    ]
    seen = report(metrics(0.9, classes=classes, expected_calibration_error=0.04))
    assert failed(seen, min_class_recall=0.6, max_ece=0.04) == []
    assert failed(seen, min_class_recall=0.61, max_ece=0.039) == [
        "recall of every label",
        "expected calibration error",
    ]
    empty = [msgspec.structs.replace(classes[0], recall=0.0, support=0), classes[1]]
    assert failed(report(metrics(0.9, classes=empty)), min_class_recall=0.1) == ["recall of every label"]
    assert failed(report(metrics(0.9, expected_calibration_error=math.nan)), max_ece=1.0) == [
        "expected calibration error"
    ]


# --- slices


def test_no_slice_may_be_significantly_worse_and_many_share_the_level() -> None:
    fine = [cut("< 6", 0.9, p_loss=0.03), cut(">= 6", 0.9, p_loss=0.5)]
    assert failed(better(slices=fine)) == []
    assert failed(better(slices=[fine[0]])) == ["no slice significantly worse"]
    assert failed(better(slices=[cut("< 6", 0.9, p_loss=0.02), fine[1]])) == ["no slice significantly worse"]
    assert failed(better(slices=[cut("< 6", 0.9, p_loss=math.nan)])) == ["no slice significantly worse"]
    assert failed(better(slices=[cut("< 6", 0.1, rows=29, p_loss=0.0)])) == []
    assert failed(better(slices=[cut("< 6", 0.1, rows=29, p_loss=0.0)]), min_slice_rows=29) != []


def test_of_very_many_slices_the_worst_that_a_bootstrap_can_tell_still_counts() -> None:
    many = [cut(str(n), 0.9, p_loss=0.5) for n in range(150)]
    assert failed(better(slices=many)) == []
    assert failed(better(slices=[*many, cut("150", 0.1, p_loss=1 / 1001)])) == [
        "no slice significantly worse"
    ]


def test_every_slice_reaches_what_is_asked_of_it() -> None:
    seen = better(slices=[cut("< 6", 0.85), cut(">= 6", 0.95), cut("(missing)", 0.1, rows=3)])
    assert failed(seen, slices={"hour": 0.85}) == []
    decision = decide(seen, Gate(slices={"hour": 0.86}))
    (rule,) = (rule for rule in decision.rules if not rule.passed)
    assert (rule.rule, rule.required) == ("every slice of hour", "accuracy >= 0.8600")
    assert rule.observed == "lowest 0.8500, < 6; 1 of fewer than 30 rows not judged"
    assert failed(seen, slices={"hour": 0.5}, min_slice_rows=1) == ["every slice of hour"]


def test_a_slice_of_no_rows_or_no_number_reaches_nothing() -> None:
    assert failed(better(), slices={"hour": 0.0}) == ["every slice of hour"]
    assert failed(better(slices=[cut("< 6", 0.9, rows=3)]), slices={"hour": 0.1}) == ["every slice of hour"]
    assert failed(better(slices=[cut("< 6", math.nan)]), slices={"hour": 0.0}) == ["every slice of hour"]


# --- latency and size


def test_latency_and_size_are_held_against_their_limits() -> None:
    seen = better(candidate_serving=serving(), champion_serving=serving(median_ms=1.0))
    limits: dict[str, Any] = {"max_latency_ms": 9.0, "max_latency_ratio": 2.0, "max_package_mb": 4.0}
    assert failed(seen, **limits) == []
    names = ["latency, 99th percentile", "latency against the champion", "package size"]
    for name, (key, limit) in zip(names, limits.items(), strict=True):
        assert failed(seen, **{key: limit * 0.99}) == [name]
    assert failed(better(), **limits) == names
    nan = serving(math.nan, math.nan)
    assert failed(better(candidate_serving=nan, champion_serving=nan), **limits) == names[:2]


def test_a_first_model_has_no_champion_to_be_slower_than() -> None:
    assert failed(report(metrics(0.9), candidate_serving=serving()), max_latency_ratio=0.1) == []


# --- the whole gate


POLICY = Gate(
    min_accuracy=0.5,
    min_gain=0.01,
    max_ece=0.1,
    min_test_rows=100,
    slices={"hour": 0.5},
    max_latency_ms=10,
    max_package_mb=10,
)


@given(
    accuracy=st.floats(0, 1),
    gained=st.integers(0, 60),
    lost=st.integers(0, 60),
    in_slice=st.floats(0, 1),
    ece=st.floats(0, 0.2),
    p99_ms=st.floats(0, 20),
    more=st.floats(0, 0.3),
)
def test_whoever_is_better_in_everything_is_not_rejected_where_the_other_was_promoted(
    accuracy: float, gained: int, lost: int, in_slice: float, ece: float, p99_ms: float, more: float
) -> None:
    def seen(by: float) -> EvaluationReport:
        paired = PairedCounts(
            both=500, only_candidate=gained + round(100 * by), only_champion=lost, neither=10
        )
        return report(
            metrics(min(1.0, accuracy + by), expected_calibration_error=ece * (1 - by)),
            metrics(0.6),
            comparison=mcnemar(paired),
            slices=[cut("< 6", min(1.0, in_slice + by), p_loss=0.5 + by)],
            candidate_serving=serving(p99_ms=p99_ms * (1 - by)),
            champion_serving=serving(),
        )

    if decide(seen(0.0), POLICY).verdict == "promote":
        assert decide(seen(more), POLICY).verdict == "promote"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["accuracy", "log_loss", "macro_f1", "expected_calibration_error"])
def test_a_figure_that_is_no_number_is_rejected_by_the_whole_gate(field: str, value: float) -> None:
    candidate = msgspec.structs.replace(metrics(0.96), **{field: value})
    seen = report(
        candidate,
        metrics(0.5),
        comparison=CONVINCING,
        slices=[cut("< 6", 0.9)],
        candidate_serving=serving(),
        champion_serving=serving(),
    )
    good = report(
        metrics(0.96),
        metrics(0.5),
        slices=[cut("< 6", 0.9)],
        candidate_serving=serving(),
        champion_serving=serving(),
    )
    assert decide(good, POLICY).verdict == "promote"
    expected = "promote" if (field, value) == ("expected_calibration_error", -math.inf) else "reject"
    assert decide(seen, POLICY).verdict == expected


def test_where_rules_are_listed_several_failures_are_told_by_their_names() -> None:
    one = decide(report(metrics(0.3)), Gate(min_accuracy=0.5))
    assert one.headline == one.reason == "accuracy: 0.3000, required >= 0.5000"
    two = decide(report(metrics(0.1)), Gate(min_accuracy=0.5))
    assert two.headline == "2 of 4 rules failed: accuracy, better than the majority class"
    assert "0.1000" in two.reason


def test_every_rule_that_is_asked_for_is_told_with_its_numbers() -> None:
    seen = report(metrics(0.3), metrics(0.9), comparison=comparison(0.9), slices=[cut("< 6", 0.2)])
    rules = decide(seen, POLICY).rules
    assert [rule.rule for rule in rules] == [
        "finite metrics",
        "test rows",
        "accuracy",
        "expected calibration error",
        "better than champion old",
        "more than chance explains",
        "no slice significantly worse",
        "every slice of hour",
        "latency, 99th percentile",
        "package size",
    ]
    assert all(rule.required and rule.observed for rule in rules)

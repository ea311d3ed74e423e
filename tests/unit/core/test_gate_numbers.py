"""Whatever numbers reach a gate, of any task: what is promoted can be so, and is better by more than chance.

The oracle is written the other way round than the rules: it asks whether anything speaks against a promotion.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lehr import detection_gate, gate, gate_rules, regression_gate, segmentation_gate
from lehr.contracts.document import Document
from lehr.contracts.evaluation import Decision, RuleResult
from lehr.contracts.gate_tables import Gate
from lehr.contracts.regression import RegressionCounts, ShardRegression
from lehr.errors import ContractError
from tests.comparisons import comparison
from tests.unit.core import test_detection_gate, test_gate, test_regression_gate, test_segmentation_gate

# Any float at all, and those that have passed gates elsewhere.
NUMBERS = st.one_of(
    st.floats(0, 1),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 0.0, 1.0, 1.0000001, -1e-9, 1e308, 5e-324, 2.0]),
)
Reports = Callable[[float, float], Any]


def _classification(candidate: float, champion: float) -> Any:
    return test_gate.report(test_gate.metrics(candidate), test_gate.metrics(champion))


def _regression(candidate: float, champion: float) -> Any:
    return test_regression_gate.report(candidate, champion)


def _segmentation(candidate: float, champion: float) -> Any:
    return test_segmentation_gate.report(candidate, champion)


def _detection(candidate: float, champion: float) -> Any:
    metrics = test_detection_gate.metrics
    return test_detection_gate.report(metrics(candidate, candidate), metrics(champion, champion))


# Of each task: its gate, a report of two figures, what else the gate reads of the candidate, whether less is better.
TASKS: dict[str, tuple[Callable[[Any, Gate], Decision], Reports, tuple[str, ...], bool]] = {
    "classification": (gate.decide, _classification, ("macro_f1", "log_loss"), False),
    "regression": (regression_gate.decide_regression, _regression, ("mae",), True),
    "segmentation": (
        segmentation_gate.decide_segmentation,
        _segmentation,
        ("mean_dice", "pixel_accuracy"),
        False,
    ),
    "detection": (detection_gate.decide_detection, _detection, ("map50",), False),
}


def speaks_against(candidate: float, champion: float, p_gain: float, *, is_error: bool) -> bool:
    """Whether the figure of a candidate, that of its champion and the evidence forbid a promotion."""
    is_possible = math.isfinite(candidate) and candidate >= 0 and (is_error or candidate <= 1)
    is_better = candidate < champion if is_error else candidate > champion
    return not (is_possible and is_better and p_gain <= 0.05)


@pytest.mark.parametrize("task", TASKS)
def test_only_a_number_that_can_be_and_is_better_is_promoted(
    task: str, record_property: Callable[[str, object], None]
) -> None:
    decide, report, _, is_error = TASKS[task]
    seen: Counter[str] = Counter()

    @settings(max_examples=300)
    @given(candidate=NUMBERS, champion=NUMBERS, p_gain=NUMBERS)
    def check(candidate: float, champion: float, p_gain: float) -> None:
        told = msgspec.structs.replace(report(candidate, champion), comparison=comparison(p_gain, 0.5))
        verdict = decide(told, Gate()).verdict
        seen[verdict] += 1
        expected = speaks_against(candidate, champion, p_gain, is_error=is_error)
        assert verdict == ("reject" if expected else "promote")

    check()
    record_property("verdicts", dict(seen))
    assert seen["promote"] > 5


OTHERS = [(task, name) for task, (_, _, names, _) in TASKS.items() for name in names]


@pytest.mark.parametrize(("task", "name"), OTHERS, ids=map("-".join, OTHERS))
@settings(max_examples=100)
@given(value=NUMBERS)
def test_no_other_figure_that_is_read_may_be_what_it_cannot(task: str, name: str, value: float) -> None:
    decide, report, _, is_error = TASKS[task]
    good = report(0.4, 0.5) if is_error else report(0.6, 0.5)
    assert decide(good, Gate()).verdict == "promote"
    candidate = msgspec.structs.replace(good.candidate, **{name: value})
    is_possible = math.isfinite(value) and value >= 0 and (value <= 1 or name in ("log_loss", "mae"))
    verdict = decide(msgspec.structs.replace(good, candidate=candidate), Gate()).verdict
    assert verdict == ("promote" if is_possible else "reject")


@pytest.mark.parametrize("task", TASKS)
def test_a_first_model_has_to_be_a_number_too(task: str) -> None:
    decide, report, _, _ = TASKS[task]
    first = {"champion": None, "champion_version": None, "comparison": None}
    for value in (math.nan, math.inf, -math.inf, -0.1):
        assert decide(msgspec.structs.replace(report(value, 0.5), **first), Gate()).verdict == "reject"
    assert decide(msgspec.structs.replace(report(0.6, 0.5), **first), Gate()).verdict == "promote"


def test_without_the_rule_an_impossible_figure_is_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the other rules alone take 1.5 for a better accuracy than 0.9, and -1 for a better error."""

    def passes(*given: object, **named: object) -> RuleResult:
        return RuleResult(rule="finite metrics", required="", observed="", passed=True)

    for module in (gate, regression_gate, segmentation_gate, detection_gate, gate_rules):
        monkeypatch.setattr(module, "finite", passes)
    verdicts = [
        decide(
            msgspec.structs.replace(
                report(*((-1.0, 0.1) if is_error else (1.5, 0.9))), comparison=comparison(0.01)
            ),
            Gate(),
        ).verdict
        for decide, report, _, is_error in TASKS.values()
    ]
    assert verdicts == ["promote"] * 4


# --- what is no number at all


def _numbers(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the numbers of a document stand."""
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in _numbers(inner, (*path, name))]
    if isinstance(value, list):
        return [found for place, inner in enumerate(value) for found in _numbers(inner, (*path, place))]
    return [path] if isinstance(value, int | float) and not isinstance(value, bool) else []


def _changed(value: Any, path: tuple[Any, ...], changed: Any) -> Any:
    copied = json.loads(json.dumps(value))
    inner = copied
    for step in path[:-1]:
        inner = inner[step]
    if changed is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = changed
    return copied


def _regression_part() -> ShardRegression:
    counts = RegressionCounts(
        rows=3,
        squared_error_sum=1.5,
        absolute_error_sum=1.5,
        target_sum=6.5,
        target_square_sum=14.5,
        seconds=0.5,
    )
    return ShardRegression(index=0, candidate=counts, champion=counts)


DOCUMENTS: dict[str, Document] = {
    "report": _classification(0.6, 0.5),
    "regression report": _regression(0.4, 0.5),
    "segmentation report": _segmentation(0.6, 0.5),
    "detection report": _detection(0.6, 0.5),
    "part": _regression_part(),
}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("wrong", ["0.99", "NaN", None, True, [], {}], ids=repr)
def test_what_is_no_number_is_refused_before_a_gate_sees_it(name: str, wrong: object) -> None:
    document = DOCUMENTS[name]
    value = json.loads(document.to_json())
    places = [path for path in _numbers(value) if path != ("schema",)]
    assert len(places) > 5
    for path in places:
        if wrong is None and path[-1] == "gain_at_least":
            continue
        with pytest.raises(ContractError):
            type(document).from_json(json.dumps(_changed(value, path, wrong)))


def test_a_part_with_a_sum_that_is_no_number_or_is_missing_is_refused() -> None:
    value = json.loads(_regression_part().to_json())
    nan = msgspec.structs.replace(_regression_part().candidate, squared_error_sum=math.nan)
    written = msgspec.structs.replace(_regression_part(), candidate=nan).to_json()
    with pytest.raises(ContractError, match="squared_error_sum"):
        ShardRegression.from_json(written)
    with pytest.raises(ContractError, match="squared_error_sum"):
        ShardRegression.from_json(json.dumps(_changed(value, ("candidate", "squared_error_sum"), ...)))
    for text in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
        raw = _regression_part().to_json().replace(b'"squared_error_sum":1.5', b'"squared_error_sum":' + text)
        with pytest.raises(ContractError):
            ShardRegression.from_json(raw)

"""The evaluator of JSONata against the rules of Step Functions."""

from __future__ import annotations

import hashlib
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr_local.jsonata_engine import QueryEvaluationError, evaluate, syntax_error

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$x + 1", 3),
        ("10 / 4", 2.5),
        ("10 / 5", 2),
        ("$list", [1]),
        ("$objects.n", [1, 9]),
        ("$objects[n > 5].n", 9),
        ("$objects[n > 5][]", [{"n": 9}]),
        ("{'a': $missing, 'b': null}", {"b": None}),
        ("$exists($missing)", False),
        ("$partition([1..5], 2)", [[1, 2], [3, 4], [5]]),
        ("$partition([], 2)", []),
        ("$range(0, 10, 5)", [0, 5, 10]),
        ("$range(3, 1, -1)", [3, 2, 1]),
        ("$range(1, 0, 1)", []),
        ("$parse('{\"a\": [null, 1]}')", {"a": [None, 1]}),
        ("$hash('abc', 'SHA-256')", hashlib.sha256(b"abc").hexdigest()),
        ("$random(7) = $random(7)", True),
    ],
)
def test_an_expression_gives_its_value(expression: str, value: Any) -> None:
    bindings = {"x": 2, "list": [1], "objects": [{"n": 1}, {"n": 9}]}
    assert evaluate(expression, bindings) == value


def test_whole_numbers_are_integers() -> None:
    assert isinstance(evaluate("6 / 2", {}), int)


def test_each_call_of_uuid_gives_another() -> None:
    first, second = evaluate("[$uuid(), $uuid()]", {})
    assert uuid.UUID(first) != uuid.UUID(second)


def test_random_lies_between_zero_and_one() -> None:
    assert all(0 <= evaluate("$random()", {}) < 1 for _ in range(20))


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("$missing", "nothing"),
        ("$count(", "S0203"),
        ("$nosuch()", "T1006"),
        ("$number('x')", "could not convert"),
        ("$error('the data is empty')", "the data is empty"),
        ("$uuid", "unsupported result type"),
        ("[$uuid]", "unsupported result type"),
        ("$eval('1')", "no function \\$eval"),
        ("$parse('{')", "wants a string of JSON"),
        ("$hash('a', 'SHA-3')", "SHA-256"),
        ("$partition([1], 0)", "at least 1"),
        ("$range(1, 2, 0)", "other than 0"),
        ("$range(0, 100000000, 1)", "million"),
    ],
)
def test_a_failure_says_why(expression: str, reason: str) -> None:
    with pytest.raises(QueryEvaluationError, match=reason):
        evaluate(expression, {})


def test_syntax_is_checked_without_values() -> None:
    assert syntax_error("$states.input.x & 'a'") is None
    assert "S0203" in (syntax_error("$count(") or "")


@given(JSON)
def test_a_bound_value_comes_back_unchanged(value: Any) -> None:
    assert evaluate("$value", {"value": value}) == value


@given(JSON)
def test_parse_reads_what_json_wrote(value: Any) -> None:
    assert evaluate("$parse($text)", {"text": json.dumps(value)}) == value


def test_the_bound_value_is_not_changed() -> None:
    value = {"list": [3, 1, None], "deep": {"a": None}}
    evaluate("$merge([$value, {'list': $sort([2, 1])}])", {"value": value})
    assert value == {"list": [3, 1, None], "deep": {"a": None}}


def test_threads_do_not_share_values() -> None:
    def total(number: int) -> Any:
        return evaluate("$sum($map([1..20], function($i) { $i * $n }))", {"n": number})

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(total, range(50))) == [210 * number for number in range(50)]

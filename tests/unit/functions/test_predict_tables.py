"""Rows of a table at the endpoint: by name, in order, as CSV; whatever does not fit is refused by its place."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from functions.predict.answers import describe_values
from functions.predict.tables import parse_table, parse_table_csv
from lehr.contracts.package import TableSignature, TensorSpec
from lehr.contracts.tables import Column
from lehr.http.problems import Problem
from lehr_runtime.tables import Table

COLUMNS = [Column(name="km", kind="number"), Column(name="class", kind="category")]
TABLE = TableSignature(
    columns=COLUMNS,
    missing=["", "NA"],
    target="price",
    categories=TensorSpec(name="categories", dtype="string", shape=[-1, 1]),
)
NUMBERS = TableSignature(columns=COLUMNS[:1], missing=[""], target="price", categories=None)


def parse(body: Any, table: TableSignature = TABLE) -> Any:
    return parse_table(json.dumps(body).encode(), table)


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [{"km": 1.5, "class": "first"}, {"class": None, "km": None}]},
        {"instances": [{"km": 1.5, "class": "first", "price": 3}, {"class": "", "km": None}]},
        {"inputs": [[1.5, "first"], [None, None]]},
        {"instances": [[1.5, " first "], [None, "NA"]]},
    ],
)
def test_rows_by_name_and_in_order_are_the_same(body: Any) -> None:
    found = parse(body)
    assert isinstance(found, Table)
    np.testing.assert_array_equal(found.numbers, np.array([[1.5], [np.nan]], np.float32))
    assert found.categories.tolist() == [["first"], [""]]


@pytest.mark.parametrize("body", [{"instances": {"km": 1, "class": "a"}}, {"inputs": [1, "a"]}])
def test_a_single_row_may_stand_alone(body: Any) -> None:
    assert len(parse(body)) == 1


def test_a_model_of_numbers_is_asked_with_one_array() -> None:
    found = parse({"instances": [{"km": 1}, {"km": 2}]}, NUMBERS)
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"instances": [{"km": 1}]}, "instances[0].class"),
        ({"instances": [{"km": "1", "class": "a"}]}, "instances[0].km"),
        ({"instances": [{"km": True, "class": "a"}]}, "instances[0].km"),
        ({"instances": [[1, "a"], [1, 2.5]]}, "instances[1].class"),
        ({"instances": [{"km": 1, "class": "a", "more": 1}]}, "instances[0]"),
        ({"instances": [[1, "a", 2]]}, "instances[0]"),
        ({"instances": [[1, "a"], "row"]}, "instances[1]"),
        ({"instances": []}, "instances"),
        ({"instances": 3}, "instances"),
        ({"instances": [[1, "a"]] * 513}, "instances"),
        ({"image": "x"}, "instances"),
        ({}, "instances"),
        ({"instances": [], "inputs": []}, "instances"),
        ([1], "instances"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(body: Any, field: str) -> None:
    with pytest.raises(Problem) as caught:
        parse(body)
    document = caught.value.document
    assert (document["status"], document["field"]) == (422, field)


@pytest.mark.parametrize("raw", [b"{", b"\xff", b'{"instances": [NaN]}', b"[" * 100_000])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_table(raw, TABLE)
    assert caught.value.document["status"] in (400, 422)


@pytest.mark.parametrize(
    "text",
    [
        "1.5,first\nNA,\n",
        "km,class\n1.5,first\n,NA\n",
        'price;class;km\n1;"first";1.5\n2;;\n',
    ],
)
def test_csv_with_and_without_names_is_the_same(text: str) -> None:
    found = parse_table_csv(text.encode(), TABLE)
    assert isinstance(found, Table)
    np.testing.assert_array_equal(found.numbers, np.array([[1.5], [np.nan]], np.float32))
    assert found.categories.tolist() == [["first"], [""]]


@pytest.mark.parametrize("text", ["", "km,class\n", "far,a\n", "1\n", "1,a\n2\n", "1,a\n" * 513])
def test_csv_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_table_csv(text.encode(), TABLE)
    assert caught.value.document["status"] == 422
    assert caught.value.document["field"].startswith("rows")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("km,clas\n1,a\n", "no column class"),
        ("km,class,km\n1,a,2\n", "two columns km"),
        ("class,class\nb,a\n", "no column km"),
    ],
)
def test_a_line_of_names_that_lacks_one_is_no_row(text: str, said: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_table_csv(text.encode(), TABLE)
    assert caught.value.document["field"] == "rows"
    assert said in caught.value.document["detail"]


def test_a_number_that_no_type_holds_is_told_as_one() -> None:
    with pytest.raises(Problem) as caught:
        parse_table(b'{"inputs": [[1e999, "a"]]}', TABLE)
    document = caught.value.document
    assert (document["field"], document["detail"]) == ("inputs", "A number is out of range.")


def test_values_are_told_row_by_row() -> None:
    assert [one.value for one in describe_values(np.array([[1.5], [-2.0]], np.float32))] == [1.5, -2.0]

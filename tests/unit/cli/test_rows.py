"""A row of the dropped data of a table: read by the schema that a run would plan with, or refused by its line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lehr import layout
from lehr.errors import UserError
from lehr_cli.rows import Row
from lehr_cli.rows import test_row as read_row
from tests.fakes import InMemoryObjectStore

RECIPE = """
[project]
name = "fares"
task = "tabular_regression"

[data]
format = "csv"
files = ["part-*.csv"]
target = "price"

[training]
loss = "mse"
"""
# Of the first MB, the class is a number in all rows; of the whole, it is not.
TABLE = "km,class,price\n" + "1.5,2,3\n" * 200_000 + "NA,first,4\n" * 100_000 + "1,2\n"


def row(number: int, files: dict[str, str], recipe: str = RECIPE) -> Row:
    prefix, code = layout.incoming_prefix("fares"), layout.project_prefix("fares", "c0de")
    artifacts = {
        layout.project_head_key("fares"): b'{"code_sha": "c0de"}',
        f"{code}lehr.toml": recipe.encode(),
    }
    stack: Any = SimpleNamespace(
        artifacts=InMemoryObjectStore("artifacts", artifacts),
        data=InMemoryObjectStore("data", {prefix + name: text.encode() for name, text in files.items()}),
    )
    return read_row(stack, "fares", number)


def test_a_row_has_the_kinds_that_a_run_would_infer() -> None:
    found = row(0, {"part-1.csv": TABLE})
    assert (found.cells, found.label, found.file) == ({"km": 1.5, "class": 2.0}, "3", "part-1.csv")


def test_a_row_of_the_test_is_one_of_its_own_file() -> None:
    recipe = RECIPE.replace("target", 'test_files = ["last.csv"]\ntarget')
    found = row(0, {"part-1.csv": "km,price\n1,2\n", "last.csv": "price,km\n7,NA\n"}, recipe)
    assert (found.cells, found.label, found.file) == ({"km": None}, "7", "last.csv")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (200_000, "line 200002: row 200000 cannot be read: 'first' is no number"),
        (300_000, "line 300002"),
        (300_001, "no row"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_by_its_line(number: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        row(number, {"part-1.csv": TABLE})


def test_a_row_of_json_lines_is_an_object_and_a_key_that_is_not_there_is_missing() -> None:
    lines = '{"km": 1.5, "zone": "a", "price": 3}\n\n{"price": 4, "zone": null}\n{"price": 5, "zone": "NA", "km": 2}\n'
    recipe = RECIPE.replace("csv", "jsonl")
    found = [row(number, {"part-1.jsonl": lines}, recipe) for number in range(3)]
    assert [one.cells for one in found] == [
        {"km": 1.5, "zone": "a"},
        {"km": None, "zone": None},
        {"km": 2.0, "zone": None},
    ]
    assert [one.label for one in found] == ["3", "4", "5"]


def test_of_a_large_file_the_rows_at_its_start_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lehr_cli.rows.MAX_READ_BYTES", 30)
    text = "km,price\n" + "1,2\n" * 20
    assert row(4, {"part-1.csv": text}).cells == {"km": 1.0}
    with pytest.raises(UserError, match="no row 5"):
        row(5, {"part-1.csv": text})


def test_a_row_of_parquet_is_asked_for_in_another_way() -> None:
    with pytest.raises(UserError, match="--input"):
        row(0, {"part-1.parquet": "PAR1"}, RECIPE.replace("csv", "parquet"))


@pytest.mark.parametrize("pattern", ["*.zip", "a.zip!x/*.csv"])
def test_a_row_in_an_archive_is_asked_for_in_another_way(pattern: str) -> None:
    with pytest.raises(UserError, match=r"a\.zip: rows of archives cannot be taken out here \(.*--input"):
        row(0, {"a.zip": "PK"}, RECIPE.replace("part-*.csv", pattern))

"""The schema of a table: what the recipe says wins, the first rows decide the rest, and mistakes have a place."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest

from lehr.contracts.recipe import Recipe, parse_recipe
from lehr.contracts.tables import ColumnKind
from lehr.csv_rows import iterate_rows
from lehr.errors import DataError, MalformedDataError, MismatchedDataError, RecipeError
from lehr.number_cells import read_number
from lehr.table_schema import infer_schema, infer_typed_schema

RECIPE = """
[project]
name = "fares"
task = "tabular_regression"

[data]
format = "csv"
files = ["*.csv"]
target = "price"

[training]
loss = "mse"
"""
TABLE = b'km,class,note,price\n1.5,first,,3\n?,"second, or less",,4\n2e1,third,,5\n'


def recipe(more: str = "") -> Recipe:
    return parse_recipe(RECIPE.replace('target = "price"\n', f'target = "price"\n{more}\n'))


def kinds(raw: bytes, more: str = "") -> dict[str, str]:
    inferred = infer_schema(recipe(more), raw, is_whole=True, place="t.csv")
    return {column.name: column.kind for column in inferred.schema.columns}


def test_columns_are_inferred_from_what_their_cells_say() -> None:
    assert kinds(TABLE) == {"km": "number", "class": "category"}


def test_what_the_recipe_says_of_a_column_wins() -> None:
    more = 'columns = { km = "category", note = "number", class = "ignore" }'
    assert kinds(TABLE, more) == {"km": "category", "note": "number"}


@pytest.mark.parametrize(("odd", "kind"), [(1, "number"), (2, "category")])
def test_a_few_cells_that_are_no_number_do_not_make_a_category(odd: int, kind: str) -> None:
    rows = "".join(f"{'far' if number < odd else number},{number}\n" for number in range(100))
    inferred = infer_schema(recipe(), f"km,price\n{rows}".encode(), is_whole=True, place="t")
    assert [column.kind for column in inferred.schema.columns] == [kind]
    assert ("1 are none" in inferred.report[0]) == (kind == "number")


def test_a_slicing_by_a_column_that_the_table_has_not_is_refused_with_the_schema() -> None:
    sliced = parse_recipe(RECIPE + "[evaluation.slices]\nkmm = [10]\n")
    with pytest.raises(RecipeError, match=r"'kmm', which is no column.*did you mean 'km'\?"):
        infer_schema(sliced, TABLE, is_whole=True, place="t.csv")
    typed: dict[str, ColumnKind | str] = {"km": "number", "price": "number"}
    with pytest.raises(RecipeError, match="did you mean 'km'"):
        infer_typed_schema(sliced, typed, rows=1, size=1, place="t.parquet")


def test_every_column_is_reported() -> None:
    report = infer_schema(recipe('columns = { class = "ignore" }'), TABLE, is_whole=True, place="t").report
    assert report == [
        "km: number (inferred from 2 rows)",
        "class: left out, as told",
        "note: left out, no row of the first has a value",
    ]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_the_delimiter_is_found_in_the_header(delimiter: str) -> None:
    raw = f'km{delimiter}"class, or{delimiter} not"{delimiter}price\n1{delimiter}a{delimiter}2\n'.encode()
    schema = infer_schema(recipe(), raw, is_whole=True, place="t").schema
    assert schema.delimiter == delimiter
    assert [column.name for column in schema.columns] == ["km", f"class, or{delimiter} not"]


def test_a_gzipped_file_that_is_cut_off_is_read_up_to_its_last_whole_line() -> None:
    lines = "".join(f"{number},{'a' if number < 4000 else number},1\n" for number in range(9000))
    raw = gzip.compress(f"km,class,price\n{lines}".encode())
    inferred = infer_schema(recipe(), raw[: len(raw) // 2], is_whole=False, place="t")
    assert [column.kind for column in inferred.schema.columns] == ["number", "category"]


def test_of_a_gzipped_file_of_several_members_the_first_may_end_anywhere() -> None:
    text = "km,class,price\n1,ä,2\n3,é,4\n".encode()
    cut = text.index("é".encode()) + 1
    raw = gzip.compress(text[:cut]) + gzip.compress(text[cut:])
    assert kinds(raw) == {"km": "number", "class": "category"}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"km,class\n1,a\n", ["no column 'price'", "km, class", "data.target"]),
        (b"km,price\n", ["no rows"]),
        (b"", ["no rows"]),
        (b"km,,price\n1,2,3\n", ["column 2 has no name"]),
        (b"km,km,price\n1,2,3\n", ["two columns are called 'km'"]),
        (b"km," + b"x" * 300 + b",price\n1,2,3\n", ["name of column 2 has 300 characters", "more than 256"]),
        (b"km,price\n\xff,2\n", ["not UTF-8 at byte 9"]),
        (b"\x1f\x8bno", ["not a gzip file"]),
        (b"price\n1\n", ["no column to learn from"]),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(raw: bytes, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        infer_schema(recipe(), raw, is_whole=True, place="t.csv")
    assert isinstance(caught.value, MalformedDataError | MismatchedDataError)
    assert all(word in str(caught.value) for word in ["t.csv", *words])


def test_quoted_cells_hold_delimiters_quotes_and_lines() -> None:
    text = 'a,b\r\n"1,""x""","two\nlines"\n\n3,4\n'
    assert list(iterate_rows(text, ",", place="t")) == [
        (1, ["a", "b"]),
        (2, ['1,"x"', "two\nlines"]),
        (5, ["3", "4"]),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_any_system_ends_them(end: str) -> None:
    text = end.join(["a,b", "1,2", "", '3,"4\r\n\u2028"', ""])
    assert list(iterate_rows(text, ",", place="t"))[1:] == [(2, ["1", "2"]), (4, ["3", "4\r\n\u2028"])]


def test_rows_are_read_without_another_copy_of_the_text() -> None:
    text = "1.25,some text\n" * 200_000
    tracemalloc.start()
    assert sum(1 for _ in iterate_rows(text, ",", place="t")) == 200_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(text) // 10


def test_a_quote_that_nobody_closes_is_refused_with_its_line() -> None:
    text = 'a,b\n1,"' + "x" * 200_000
    with pytest.raises(MalformedDataError, match="from line 2 on"):
        list(iterate_rows(text, ",", place="t"))


@pytest.mark.parametrize("text", ["", "x", "1_000", "inf", "-Infinity", "nan", "1e39", "0x10"])
def test_what_is_no_number_within_float32_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_number(text)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('format = "csv"', 'format = "idx"', ["data.format", "tabular_regression", "csv"]),
        ('target = "price"', "", ["data.target is missing"]),
        ('files = ["*.csv"]', "", ["data.files is missing"]),
        ('loss = "mse"', 'loss = "cross_entropy"', ["cross_entropy", "mse or huber", "a number to predict"]),
        ('loss = "mse"', "", ["cross_entropy", "mse or huber"]),
        ('target = "price"', 'target = "price"\nlabels = ["a", "b"]', ["data.labels", "regression"]),
        ('target = "price"', 'target = "price"\ncolumns = { price = "number" }', ["'price', the target"]),
        ("[training]", '[model]\nname = "cnn"\n[training]', ["'cnn' takes images", "mlp or custom"]),
        ("[training]", "[augment]\nhorizontal_flip = true\n[training]", ["[augment] changes images"]),
        ("[training]", "[gate]\nmin_accuracy = 0.5\n[training]", ["gate.min_accuracy", "max_rmse"]),
        ('loss = "mse"', 'loss = "mse"\nclass_weights = [1.0]', ["class_weights", "without classes"]),
        (
            'loss = "mse"',
            'loss = "mse"\nstart_from = "champion"',
            ["start_from", "tabular_regression", "leave it"],
        ),
        ('loss = "mse"', 'loss = "mse"\nresidency = "streamed"', ["residency", "meaning for a table"]),
        (
            'loss = "mse"',
            'loss = "mse"\n[trials]\noverrides = [{ residency = "streamed" }]',
            ["overrides[0]", "meaning for a table"],
        ),
        (
            'loss = "mse"',
            'loss = "mse"\npatience = 1\nmonitor = "validation_accuracy"',
            ["validation_accuracy", "without classes"],
        ),
        (
            'target = "price"',
            'target = "price"\ntest_fraction = 0.1\ntest_files = ["t"]',
            ["test_fraction", "test_files"],
        ),
        ("tabular_regression", "tabular_classification", ["data.labels", "length >= 2"]),
        (
            'task = "tabular_regression"',
            'task = "tabular_classification"\n[gate]\nmin_gain = 2',
            ["gate.min_gain = 2", "share of the rows"],
        ),
        ('target = "price"', 'target = "price"\ndelimiter = "\\n"', ["data.delimiter", "leave it out"]),
    ],
)
def test_a_recipe_that_does_not_fit_a_table_is_refused(old: str, new: str, words: list[str]) -> None:
    assert old in RECIPE
    with pytest.raises(RecipeError) as caught:
        parse_recipe(RECIPE.replace(old, new))
    assert all(word in str(caught.value) for word in words), str(caught.value)


JSONL = b"""{"km": 1, "zone": "7", "price": 1.5, "note": {"deep": 1}}
{"km": "far", "price": 2, "extra": null}
no object
{"km": 2.5, "zone": "NA", "price": 3, "extra": 4}
"""


def jsonl_recipe(more: str = "") -> Recipe:
    text = '[project]\nname = "fares"\ntask = "tabular_regression"\n[data]\nformat = "jsonl"\nfiles = ["*"]\n'
    return parse_recipe(text + f'target = "price"\n{more}\n[training]\nloss = "mse"\n')


def test_keys_of_json_lines_are_columns_and_a_text_is_no_number() -> None:
    recipe = jsonl_recipe('columns = { note = "ignore" }\nmax_refused_fraction = 0.5')
    inferred = infer_schema(recipe, JSONL, is_whole=True, place="t.jsonl")
    assert [(column.name, column.kind) for column in inferred.schema.columns] == [
        ("km", "number"),
        ("zone", "category"),
        ("extra", "number"),
    ]
    assert "km: number (inferred from 3 rows, 1 are none)" in inferred.report
    assert inferred.schema.delimiter == ""


def test_what_is_nested_is_refused_with_its_line_and_key() -> None:
    with pytest.raises(MismatchedDataError, match=r"t.jsonl: the key note is an object in line 1.*ignore"):
        infer_schema(jsonl_recipe(), JSONL, is_whole=True, place="t.jsonl")
    for value, told in ((b"[1]", "a list"), (b"true", "a truth value")):
        raw = b'{"km": 1, "price": 2}\n{"km": ' + value + b', "price": 2}\n'
        with pytest.raises(MismatchedDataError, match=f"the key km is {told} in line 2"):
            infer_schema(jsonl_recipe(), raw, is_whole=True, place="t.jsonl")


def test_json_lines_without_an_object_or_with_a_nameless_key_are_refused() -> None:
    with pytest.raises(MalformedDataError, match="has no rows"):
        infer_schema(jsonl_recipe(), b"a,b\n1,2\n", is_whole=True, place="t.jsonl")
    with pytest.raises(MalformedDataError, match="a key of 0 characters"):
        infer_schema(jsonl_recipe(), b'{"": 1, "price": 2}\n', is_whole=True, place="t.jsonl")

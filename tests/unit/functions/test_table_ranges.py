"""A file in ranges of bytes: every row once, as a reader of the whole file reads it, or an error."""

from __future__ import annotations

import csv
import io
import itertools
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.prepare_shard import borders, csv_blocks, table_sources
from functions.prepare_shard.table_sources import AT_END, open_blocks
from functions.prepare_shard.tables import prepare_table
from functions.seal_dataset.seal import seal
from functions.start_run import table_cuts
from functions.start_run.plan import list_raw
from functions.start_run.tables import plan_table
from lehr import layout
from lehr.contracts.dataset import ObjectRef
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.table_units import PrepareTableUnit, TableFormat
from lehr.contracts.tables import Column, TableSchema
from lehr.contracts.workflow import SealRequest
from lehr.errors import ChangedDataError, MalformedDataError
from tests.fakes import InMemoryObjectStore, InMemoryRegistry
from tests.tables import RUN
from tests.unit.functions.test_prepare_table import HEADER, lines
from tests.unit.functions.test_prepare_table import RECIPE as TABLE_RECIPE

KEY = "incoming/fares/rows.csv"
COLUMNS = [Column(name="km", kind="number"), Column(name="zone", kind="category")]
Row = tuple[float | None, str, float]


def schema(**changes: object) -> TableSchema:
    plain = TableSchema(columns=COLUMNS, target="price", labels=[], delimiter=",", missing=["", "NA"])
    return msgspec.structs.replace(plain, **changes)


def unit(
    data: InMemoryObjectStore, first: int, count: int, table: TableSchema, kind: TableFormat
) -> PrepareTableUnit:
    size = len(data.objects[KEY])
    return PrepareTableUnit(
        project="fares",
        run="run-1",
        index=0,
        of=1,
        file=ObjectRef(bucket="data", key=KEY, etag=data.etag(KEY), bytes=size),
        format=kind,
        first=first,
        count=count,
        table=table,
        is_test=False,
        seed=1,
        validation_fraction=0.1,
        test_fraction=0.2,
        rows_per_shard=100,
        max_refused_fraction=0.5,
    )


def read(raw: bytes, cuts: list[int], kind: TableFormat = "csv") -> tuple[list[Row], list[str]]:
    """Rows of all units together, and the reasons of those that were refused."""
    data = InMemoryObjectStore("data", {KEY: raw})
    edges = sorted({0, *(cut for cut in cuts if 0 < cut < len(raw)), len(raw)})
    rows: list[Row] = []
    refused: list[str] = []
    for first, end in itertools.pairwise(edges):
        reader, blocks = open_blocks(unit(data, first, end - first, schema(), kind), data)
        for _, block in blocks:
            refused += [one.reason for one in block.refused]
            for numbers, codes, target in zip(block.numbers, block.codes, block.targets, strict=True):
                km = None if np.isnan(numbers[0]) else float(numbers[0])
                rows.append((km, reader.texts.all[codes[0]], float(target)))
    return rows, refused


def by_the_book(raw: bytes) -> list[Row]:
    """The rows as csv.reader and float read them from the whole file."""
    found: list[Row] = []
    for cells in list(csv.reader(io.StringIO(raw.decode(), newline="")))[1:]:
        try:
            km, zone, price = (cell.strip() for cell in cells)
            number = None if km in ("", "NA") else float(np.float32(float(km)))
            if not np.isfinite([number or 0.0, float(price)]).all():
                continue
            found.append((number, "" if zone == "NA" else zone, float(np.float32(float(price)))))
        except ValueError:
            continue
    return found


numbers = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.floats(-(2.0**40), 2.0**40, width=32).map(repr),
    st.floats(-1e6, 1e6).map(repr),
    st.decimals(-1000, 1000, places=4).map(str),
    st.sampled_from(
        ["", "NA", " 7 ", "+1", "1e3", ".5", "5.", "-0", "0000000000000000000000012.5", "16777217"]
    ),
)
plain_texts = st.text(st.sampled_from("abcxyz é-"), max_size=30)
quoted_texts = st.text(st.sampled_from('ab",\n x'), max_size=12).map(
    lambda text: '"' + text.replace('"', '""') + '"'
)
broken = st.sampled_from(["", "1,2", "far,a,1", "1,a,b,2", ",", "1,a,", "nan,a,inf"])


def bodies(texts: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    row = st.tuples(numbers, texts, st.integers(-99, 99).map(str)).map(",".join)
    ends = st.sampled_from(["\n", "\r\n"])
    body = st.lists(st.tuples(st.one_of(row, row, row, broken), ends).map("".join), max_size=40)
    return body.map(lambda rows: ("km,zone,price\n" + "".join(rows)).encode())


cut_places = st.lists(st.integers(1, 1500), max_size=5)


@settings(deadline=None, max_examples=150)
@given(bodies(plain_texts), cut_places, st.sampled_from([16, 64, 1 << 18]))
def test_plain_rows_are_those_of_the_whole_file_wherever_it_is_cut(
    raw: bytes, cuts: list[int], block_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_blocks, "BLOCK_BYTES", block_bytes)
        found, _ = read(raw, cuts)
    assert found == by_the_book(raw)


@settings(deadline=None, max_examples=150)
@given(bodies(st.one_of(plain_texts, quoted_texts)), cut_places, st.sampled_from([16, 1 << 18]))
def test_quoted_rows_are_those_of_the_whole_file_or_the_run_fails(
    raw: bytes, cuts: list[int], block_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_blocks, "BLOCK_BYTES", block_bytes)
        assert read(raw, [])[0] == by_the_book(raw)
        try:
            found, _ = read(raw, cuts)
        except MalformedDataError:
            return
    assert found == by_the_book(raw)


def test_texts_of_several_lines_do_not_mislead_the_search_for_a_border() -> None:
    texts = ["one", "two\nlines", "of, commas\n1,b,2\nand more", 'a ""quote""\nin it']
    rows = [f'{n},"{texts[n % 4]}",{n}\n' for n in range(60)]
    raw = ("km,zone,price\n" + "".join(rows)).encode()
    whole = by_the_book(raw)
    assert len(whole) == 60
    for cut in range(20, len(raw)):
        assert read(raw, [cut])[0] == whole


def test_a_row_that_goes_on_behind_a_border_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(borders, "WINDOW_BYTES", 40)
    monkeypatch.setattr(table_sources, "WINDOW_BYTES", 40)
    raw = b'km,zone,price\n1,"' + b"3,b,4\n" * 40 + b'",2\n'
    with pytest.raises(MalformedDataError, match=r"row of several lines, from line 2 on.*gzip it"):
        read(raw, [100])


def test_a_line_longer_than_a_window_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(borders, "WINDOW_BYTES", 40)
    monkeypatch.setattr(table_sources, "WINDOW_BYTES", 40)
    with pytest.raises(MalformedDataError, match="a line of more than 40 bytes"):
        read(b"km,zone,price\n1," + b"x" * 200 + b",2\n", [60])


values = st.one_of(st.none(), st.integers(-99, 10**20), st.floats(-1e30, 1e30), st.just("NA"))


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(values, st.text(max_size=8), st.integers(0, 9), st.booleans()), max_size=30),
    cut_places,
)
def test_lines_of_json_are_read_wherever_the_file_is_cut(
    rows: list[tuple[float | str | None, str, int, bool]], cuts: list[int]
) -> None:
    expected: list[Row] = []
    text = ""
    for km, zone, price, is_short in rows:
        one = {"price": price, "other": {"nested": [1]}, "zone": zone} | (
            {} if is_short and km is None else {"km": km}
        )
        text += json.dumps(one, ensure_ascii=is_short) + "\n"
        stripped = zone.strip()
        if "\0" not in stripped:
            number = None if km is None or km == "NA" else float(np.float32(km))
            expected.append((number, "" if stripped == "NA" else stripped, float(price)))
    assert read(text.encode(), cuts, "jsonl")[0] == expected


def test_a_line_of_json_is_refused_with_its_key() -> None:
    good = [b'{"km": 1, "zone": "a", "price": 2}'] * 8
    wrong = {
        b'{"km": {"a": 1}, "zone": "a", "price": 2}': "km: an object, where a table has a number or a text",
        b'{"km": [1], "zone": "a", "price": 2}': "km: a list, where a table has a number or a text",
        b'{"km": "far", "zone": "a", "price": 2}': "km: not a number within float32, nor null",
        b'{"km": true, "zone": "a", "price": 2}': "km: not a number within float32, nor null",
        b'{"km": 1, "zone": 1.5, "price": 2}': "zone: not a string, nor null",
        b'{"km": 1, "zone": "a"}': "price: the number to predict is missing",
        b"[1, 2]": "no JSON object",
        b'{"km": 1': "no JSON: Input data was truncated",
    }
    rows, refused = read(b"\n".join([*good, *wrong, *good, b""]), [], "jsonl")
    assert len(rows) == 16
    assert refused == list(wrong.values())


def test_a_file_that_was_overwritten_is_not_read_on() -> None:
    data = InMemoryObjectStore("data", {KEY: b"km,zone,price\n1,a,2\n"})
    planned = unit(data, 0, 10, schema(), "csv")
    data.put(KEY, b"km,zone,price\n9,a,2\n")
    with pytest.raises(ChangedDataError):
        open_blocks(planned, data)


def test_of_a_versioned_bucket_what_was_planned_is_read_and_the_dataset_is_that_of_its_bytes() -> None:
    recipe = parse_recipe(TABLE_RECIPE)
    text = (HEADER + lines(0, 300)).encode()
    versions = set()
    for is_versioned in (True, False):
        data = InMemoryObjectStore("data", {"incoming/fares/part-1.csv": text}, is_versioned=is_versioned)
        artifacts = InMemoryObjectStore("artifacts")
        (planned,), _ = plan_table(recipe, list_raw(data, "fares"), data, RUN)
        if is_versioned:
            data.put("incoming/fares/part-1.csv", HEADER.encode())
        artifacts.put(layout.plan_key("fares", RUN), msgspec.json.encode([planned]))
        artifacts.put(layout.recipe_key("fares", RUN), recipe.to_json())
        prepare_table(planned, data, artifacts)
        sealed = seal(SealRequest(project="fares", run=RUN), artifacts, InMemoryRegistry())
        versions.add(sealed.version)
    assert len(versions) == 1


def test_plain_text_is_cut_and_gzip_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_cuts, "UNIT_BYTES", 100)
    monkeypatch.setattr(table_cuts, "MAX_GZIP_BYTES", 200)
    data = InMemoryObjectStore(
        "data",
        {"a": b"x" * 100, "b": b"x" * 250, "c": b"\x1f\x8b" + b"x" * 150, "d": b"\x1f\x8b" + b"x" * 250},
    )
    entries = {entry.key: entry for entry in data.list("")}
    assert list(table_cuts.cut_text(entries["a"], data)) == [(0, 0)]
    assert list(table_cuts.cut_text(entries["b"], data)) == [(0, 100), (100, 150)]
    assert list(table_cuts.cut_text(entries["c"], data)) == [(0, 0)]
    with pytest.raises(MalformedDataError, match=r"of a gzip file.*plain text, which may be of any size"):
        list(table_cuts.cut_text(entries["d"], data))


def test_a_refused_line_is_found_by_the_byte_that_its_range_begins_at() -> None:
    raw = b"km,zone,price\n" + b"1,a,2\n" * 9 + b"far,a,2\n" + b"1,a,2\n" * 9
    data = InMemoryObjectStore("data", {KEY: raw})
    _, blocks = open_blocks(unit(data, 30, len(raw) - 30, schema(), "csv"), data)
    (refused,) = [one for _, block in blocks for one in block.refused]
    assert raw[refused.byte :].splitlines()[refused.line - 1] == b"far,a,2"
    assert refused.byte == 32


def test_positions_are_those_in_the_file_and_end_with_its_end() -> None:
    raw = b"km,zone,price\n" + b"1,a,2\n" * 20
    data = InMemoryObjectStore("data", {KEY: raw})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_blocks, "BLOCK_BYTES", 12)
        _, blocks = open_blocks(unit(data, 40, 94, schema(), "csv"), data)
        places = [position for position, _ in blocks]
    assert places[-1] == AT_END
    assert all((place - 14) % 6 == 0 for place in places[:-1])
    assert places[0] > 40

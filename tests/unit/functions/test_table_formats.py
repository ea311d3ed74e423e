"""The same rows in every format: the same shards' rows in the same splits, and the numbers that `float` reads."""

from __future__ import annotations

import gzip
import io

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.prepare_shard.digits import PADDING, parse_numbers, words_of
from functions.prepare_shard.jsonl_blocks import MAX_BLOCK_CELLS, JsonlBlocks
from functions.prepare_shard.splits import RowHasher, choose_splits
from functions.prepare_shard.table_blocks import TableReader
from functions.start_run import table_cuts
from lehr.contracts.tables import Column, TableSchema
from lehr.errors import MalformedDataError
from tests.tables import prepare
from tests.unit.functions.test_prepare_table import HEADER, RECIPE, lines, rows_of

TEXT = HEADER + lines(0, 400)
ROWS = [
    {"km": int(km), "carrier": carrier, "class": label}
    for km, carrier, label in (line.split(",") for line in TEXT.splitlines()[1:])
]


def files_of(kind: str) -> dict[str, bytes]:
    if kind == "csv":
        return {"part-1.csv": TEXT.encode()}
    if kind == "quoted csv":
        rows = [f'"{row["km"]}","{row["carrier"]}","{row["class"]}"\r\n' for row in ROWS]
        return {"part-1.csv": b"\xef\xbb\xbf" + (HEADER + "".join(rows)).encode()}
    if kind.startswith("jsonl"):
        raw = b"".join(msgspec.json.encode(row) + b"\n" for row in ROWS)
        return {"part-1.jsonl": gzip.compress(raw) if kind.endswith("gz") else raw}
    written = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), written)
    return {"part-1.parquet": written.getvalue()}


@pytest.mark.parametrize(
    "kind", ["quoted csv", "jsonl", "jsonl.gz", "parquet", "csv in ranges", "jsonl in ranges"]
)
def test_a_row_is_in_the_same_split_whatever_the_format_and_wherever_it_is_cut(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rows_of(*prepare(RECIPE, files_of("csv"))[:2])
    if kind.endswith("in ranges"):
        monkeypatch.setattr(table_cuts, "UNIT_BYTES", 700)
    files = files_of(kind.removesuffix(" in ranges"))
    recipe = RECIPE.replace("csv", next(iter(files)).rpartition(".")[2])
    found = rows_of(*prepare(recipe, files)[:2])
    assert {split: sorted(rows) for split, rows in found.items()} == {
        split: sorted(rows) for split, rows in expected.items()
    }


def test_lines_that_are_refused_in_a_range_are_told_with_where_it_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table_cuts, "UNIT_BYTES", 3000)
    broken = TEXT + "far,A,cheap\n" * 60
    with pytest.raises(MalformedDataError, match=r"line \d+ after byte \d+: km: 'far' is no number"):
        prepare(RECIPE + 'columns = { km = "number" }\n', {"part-1.csv": broken.encode()})


cells = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=6).map("{:f}".format),
    st.integers(-(10**26), 10**26).map(str),
    st.from_regex(r"\A-?[0-9]{0,14}\.?[0-9]{0,14}\Z"),
    st.text(st.sampled_from("0123456789.-+eE /:_"), max_size=26),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(cells, min_size=1, max_size=40))
def test_what_is_read_as_a_number_is_the_one_that_float_reads(texts: list[str]) -> None:
    raw = b"\xff" * PADDING + "".join(text + "," for text in texts).encode() + b"\xff" * 8
    buffer = np.frombuffer(raw, np.uint8)
    ends = np.array([PADDING + sum(len(text) + 1 for text in texts[: n + 1]) - 1 for n in range(len(texts))])
    starts = np.array([end - len(text) for end, text in zip(ends, texts, strict=True)])
    values, is_read = parse_numbers(buffer, words_of(buffer), starts, ends)
    for text, value, was_read in zip(texts, values, is_read, strict=True):
        if was_read:
            assert value.tobytes() == np.float32(float(text)).tobytes()
        plain = text.removeprefix("-")
        if plain.replace(".", "", 1).isdecimal() and len(plain) <= 8:
            assert was_read


def test_splits_are_uniform_and_differ_by_any_column() -> None:
    rows = 40_000
    numbers = np.stack([np.arange(rows), np.arange(rows) % 2], axis=1).astype(np.float32)
    codes = (np.arange(rows, dtype=np.int32) % 3)[:, None]
    targets = np.zeros(rows, np.float32)
    hashes = RowHasher(["a", "b", "c"], ["cheap", "dear"]).hashes(numbers, codes, targets)
    splits = choose_splits(hashes, test_fraction=0.2, validation_fraction=0.25)
    # Binomial: 0.002 is one standard deviation.
    np.testing.assert_allclose(np.bincount(splits) / rows, [0.6, 0.2, 0.2], atol=0.01)
    bits = np.unpackbits(hashes.view(np.uint8)).reshape(rows, 64).mean(axis=0)
    np.testing.assert_allclose(bits, 0.5, atol=0.015)
    one = (np.array([[1.0, 0.0]], np.float32), np.array([[0]], np.int32), np.zeros(1, np.float32))
    others = [
        (one[0][:, ::-1].copy(), one[1], one[2]),
        (one[0], one[1] + 1, one[2]),
        (one[0], one[1], one[2] + 1),
    ]
    hasher = RowHasher(["a", "b", "c"], ["cheap", "dear"])
    assert len({int(hasher.hashes(*row)[0]) for row in [one, *others]}) == 4


def test_zeros_are_one_number_and_what_is_missing_is_one() -> None:
    hasher = RowHasher([], [])
    nothing = np.empty((2, 0), np.int32)
    zeros = np.array([[0.0], [-0.0]], np.float32)
    missing = np.array([0x7FC00000, 0xFFC00001], np.uint32).view(np.float32)[:, None]
    for pair in (zeros, missing):
        first, second = hasher.hashes(pair, nothing, np.zeros(2, np.float32))
        assert first == second


@pytest.mark.parametrize("name", ['a "b"', "a\\b", "a\tb", "ä{}"])
def test_a_key_of_any_characters_is_a_column(name: str) -> None:
    rows = [{name: row["km"], "carrier": row["carrier"], "class": row["class"]} for row in ROWS]
    raw = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    recipe = RECIPE.replace('format = "csv"', 'format = "jsonl"').replace(".csv", ".jsonl")
    found = rows_of(*prepare(recipe, {"part-1.jsonl": raw})[:2])
    named = b"".join(msgspec.json.encode(row) + b"\n" for row in ROWS)
    assert found == rows_of(*prepare(recipe, {"part-1.jsonl": named})[:2])


def test_lines_that_have_hardly_a_key_in_common_are_no_table() -> None:
    raw = b"".join(b'{"k%d":1,"class":"cheap"}\n' % number for number in range(3_000))
    recipe = RECIPE.replace('format = "csv"', 'format = "jsonl"').replace(".csv", ".jsonl")
    with pytest.raises(MalformedDataError, match=r"3001 different keys in 3000 lines"):
        prepare(recipe, {"part-1.jsonl": raw})


def test_a_block_of_short_lines_has_no_more_cells_than_fit() -> None:
    columns = [Column(name=f"c{number}", kind="number") for number in range(5_000)]
    schema = TableSchema(columns=columns, target="y", labels=[], delimiter="", missing=[])
    blocks = [
        block for _, block in JsonlBlocks(TableReader(schema, "a")).read(b'{"y":1}\n' * 9_000, 0, 72_000, 1)
    ]
    assert sum(len(block.targets) for block in blocks) == 9_000
    assert max(block.numbers.size for block in blocks) <= MAX_BLOCK_CELLS

"""Parquet against pyarrow, which wrote it: every value of every codec, encoding and version of pages, or a refusal."""

from __future__ import annotations

import io
import json
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from functions.prepare_shard.parquet_pages import hybrid
from functions.start_run import table_cuts
from functions.start_run.plan import list_raw
from functions.start_run.tables import plan_table
from lehr import layout
from lehr.contracts.recipe import parse_recipe
from lehr.errors import MalformedDataError, MismatchedDataError, UserError
from lehr.thrift_compact import ThriftError, read_struct
from lehr_runtime.shards import read_shard
from lehr_runtime.tables import from_tensors
from tests.fakes import InMemoryObjectStore
from tests.tables import RUN, prepare

RECIPE = """
[project]
name = "fares"
task = "tabular_classification"

[data]
format = "parquet"
files = ["part-*.parquet"]
target = "class"
labels = ["cheap", "dear"]
columns = { at = "ignore", path = "ignore" }
"""


def written(rows: int, **options: Any) -> bytes:
    """A table of a column of each type that is read, and of two that are not."""
    random = np.random.default_rng(rows)

    def holes(values: Any) -> list[Any]:
        return [
            None if hole else value for value, hole in zip(values, random.random(rows) < 0.2, strict=True)
        ]

    table = pa.table(
        {
            "km": pa.array(range(rows), pa.int64()),
            "f8": pa.array(holes(random.normal(size=rows) * 1e3), pa.float64()),
            "f4": pa.array(random.normal(size=rows), pa.float32()),
            "i4": pa.array(holes(random.integers(-99, 99, rows).tolist()), pa.int32()),
            "i1": pa.array(random.integers(-9, 9, rows), pa.int8()),
            "u8": pa.array(random.integers(2**63, 2**64, rows, dtype=np.uint64), pa.uint64()),
            "yes": pa.array(holes(random.random(rows) < 0.5), pa.bool_()),
            "carrier": pa.array(holes(random.choice(["A", "Bee", " é ", "NA", ""], rows)), pa.string()),
            "tail": pa.array([f"n{number % 7}" * 3 for number in range(rows)], pa.large_string()),
            "at": pa.array([date(2026, 1, 1)] * rows),
            "path": pa.array([[1, 2]] * rows),
            "class": pa.array(random.choice(["cheap", "dear"], rows), pa.string()),
        }
    )
    raw = io.BytesIO()
    pq.write_table(table, raw, **options)
    return raw.getvalue()


def expected(raw: bytes) -> dict[int, tuple[list[float], list[str], str]]:
    """Numbers, texts and label of each row, by its km."""
    rows = {}
    for one in pq.read_table(io.BytesIO(raw)).to_pylist():
        numbers = [one[name] for name in ("km", "f8", "f4", "i4", "i1", "u8", "yes")]
        texts = [(one[name] or "").strip() for name in ("carrier", "tail")]
        wide = [np.nan if value is None else float(value) for value in numbers]
        rows[one["km"]] = (
            np.array(wide, np.float32).tolist(),
            ["" if text == "NA" else text for text in texts],
            one["class"],
        )
    return rows


OPTIONS: list[dict[str, Any]] = [
    {},
    {"compression": "none", "use_dictionary": False},
    {"compression": "gzip", "row_group_size": 100},
    {"compression": "zstd", "data_page_size": 256, "row_group_size": 333},
    {"data_page_version": "2.0", "data_page_size": 256},
    {"data_page_version": "2.0", "compression": "none", "version": "1.0"},
    {"use_dictionary": ["carrier"], "use_byte_stream_split": ["f8", "f4"], "compression": "zstd"},
    {"dictionary_pagesize_limit": 20, "data_page_size": 64},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_rows_are_those_that_pyarrow_reads(options: dict[str, Any]) -> None:
    raw = written(700, **options)
    artifacts, manifest, report = prepare(RECIPE, {"part-1.parquet": raw})
    found = {}
    prefix = layout.datasets_prefix("fares")
    for shard in manifest.shards:
        tensors = read_shard(artifacts.objects[prefix + shard.key])
        table: Any = from_tensors(tensors, place=shard.key)
        for numbers, texts, label in zip(table.numbers, table.categories, tensors["y"], strict=True):
            found[int(numbers[0])] = (numbers.tolist(), texts.tolist(), manifest.labels[label])
    wanted = expected(raw)
    assert found.keys() == wanted.keys()
    for km, (numbers, texts, label) in wanted.items():
        np.testing.assert_array_equal(found[km][0], numbers)
        assert found[km][1:] == (texts, label)
    assert "carrier: category (as its type)" in report
    assert "at: left out, as told" in report


def planned(raw: bytes, recipe: str = RECIPE) -> list[tuple[int, int]]:
    data = InMemoryObjectStore("data", {"incoming/fares/part-1.parquet": raw})
    plan, _ = plan_table(parse_recipe(recipe), list_raw(data, "fares"), data, RUN)
    return [(unit.first, unit.count) for unit in plan]


def test_row_groups_are_the_units_of_work_as_many_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = written(1000, row_group_size=100)
    assert planned(raw) == [(0, 10)]
    monkeypatch.setattr(table_cuts, "UNIT_BYTES", 20_000)
    runs = planned(raw)
    assert len(runs) > 2
    assert [first for first, _ in runs] == [0, *np.cumsum([count for _, count in runs])[:-1]]
    assert sum(count for _, count in runs) == 10
    whole, parts = (prepare(RECIPE, {"part-1.parquet": raw})[1] for _ in range(2))
    assert whole.sha256() == parts.sha256()
    assert sum(whole.rows(split) for split in ("train", "validation", "test")) == 1000


def test_what_is_not_read_is_refused_before_a_run_with_its_column_and_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = RECIPE.replace('columns = { at = "ignore", path = "ignore" }', "")
    for recipe, options, told in (
        (wanted, {}, r"column at has dates.*ignore"),
        (RECIPE.replace('at = "ignore", ', ""), {}, r"column at has dates.*ignore"),
        (RECIPE.replace(', path = "ignore"', ""), {}, r"column path is nested.*ignore"),
        (RECIPE, {"compression": "brotli"}, r"column km that is compressed by brotli.*snappy, gzip or zstd"),
        (
            RECIPE,
            {"use_dictionary": False, "column_encoding": {"km": "DELTA_BINARY_PACKED"}},
            r"column km that is encoded as DELTA_BINARY_PACKED.*as pyarrow does",
        ),
        (RECIPE.replace('at = "ignore"', 'no = "ignore"'), {}, r"has no column 'no'"),
    ):
        with pytest.raises((MismatchedDataError, MalformedDataError), match=told):
            planned(written(50, **options), recipe)
    monkeypatch.setattr(table_cuts, "MAX_GROUP_BYTES", 1000)
    with pytest.raises(MalformedDataError, match=r"row group of 50 rows.*smaller row groups"):
        planned(written(50))


def test_a_file_that_is_none_or_was_cut_off_is_refused() -> None:
    raw = written(50)
    for broken in (
        b"PAR1",
        b"km,class\n" * 9,
        raw[:-1],
        raw[:-8] + b"\xff\xff\xff\x7fPAR1",
        b"PAR1" + raw[-300:],
    ):
        with pytest.raises(MalformedDataError, match=r"part-1\.parquet"):
            planned(broken)


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(MalformedDataError, match=r"part-1\.parquet: has no rows"):
        prepare(RECIPE, {"part-1.parquet": written(0)})


def test_damaged_bytes_are_an_error_that_names_the_file_and_never_another() -> None:
    raw = written(200, compression="none")
    random = np.random.default_rng(3)
    for _ in range(150):
        damaged = bytearray(raw)
        for place in random.integers(4, len(raw) - 8, 3):
            damaged[place] ^= int(random.integers(1, 256))
        try:
            prepare(RECIPE, {"part-1.parquet": bytes(damaged)})
        except UserError:
            continue


def test_numbers_beyond_float32_and_missing_targets_are_set_aside_with_their_row() -> None:
    table = pa.table(
        {
            "km": [n + (n % 4 == 1) * 1e39 for n in range(120)],
            "fare": [None if n % 4 == 2 else n for n in range(120)],
        }
    )
    raw = io.BytesIO()
    pq.write_table(table, raw)
    recipe = RECIPE.replace("tabular_classification", "tabular_regression").replace('"class"', '"fare"')
    recipe = recipe.replace('labels = ["cheap", "dear"]\n', "max_refused_fraction = 0.5\n")
    recipe = recipe.replace('columns = { at = "ignore", path = "ignore" }', '[training]\nloss = "mse"')
    artifacts, manifest, _ = prepare(recipe, {"part-1.parquet": raw.getvalue()})
    lines = artifacts.objects[layout.quarantine_key("fares", RUN, 0)].splitlines()
    assert json.loads(lines[0]) == {
        "file": "part-1.parquet",
        "line": 2,
        "reason": "km: '1e+39' is no number within float32",
    }
    assert json.loads(lines[1])["reason"] == "fare: the number to predict is missing"
    assert sum(manifest.rows(split) for split in ("train", "validation", "test")) == 60


def test_whole_numbers_and_truth_values_may_be_labels() -> None:
    for values, labels in (([0, 7], '["0", "7"]'), ([False, True], '["false", "true"]')):
        raw = io.BytesIO()
        pq.write_table(
            pa.table({"km": list(range(300)), "class": [values[n % 3 == 0] for n in range(300)]}), raw
        )
        recipe = RECIPE.replace('["cheap", "dear"]', labels)
        recipe = recipe.replace('columns = { at = "ignore", path = "ignore" }', "")
        _, manifest, _ = prepare(recipe, {"part-1.parquet": raw.getvalue()})
        counts = np.sum([manifest.class_counts(split) for split in ("train", "validation", "test")], axis=0)
        assert counts.tolist() == [200, 100]


def test_runs_and_packed_integers_are_those_of_the_specification() -> None:
    # The example of the specification: 0 to 7 in three bits each.
    assert hybrid(bytes([0b11, 0b10001000, 0b11000110, 0b11111010]), 3, 8).tolist() == list(range(8))
    assert hybrid(bytes([10 << 1, 5]), 3, 10).tolist() == [5] * 10
    assert hybrid(b"", 3, 0).tolist() == []
    for broken in (b"", b"\x80", bytes([0b11]), bytes([0])):
        with pytest.raises(ValueError):
            hybrid(broken, 3, 8)


def test_thrift_that_breaks_off_or_nests_without_end_is_an_error() -> None:
    assert read_struct(bytes([0x15, 0x04, 0x11, 0x18, 0x01, 0x61, 0x00])) == ({1: 2, 2: True, 3: b"a"}, 7)
    for broken in (b"", b"\x15", b"\x18\x05a", b"\x19\xf5\xff\xff\x7f", b"\x1c" * 99, b"\x1d"):
        with pytest.raises(ThriftError):
            read_struct(broken)


def test_a_row_group_of_more_rows_than_fit_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Equal values take no room in the file, whatever they take in memory."""
    monkeypatch.setattr("functions.prepare_shard.table_blocks.MAX_ARRAY_BYTES", 199 * (8 * 7 + 16 * 2 + 64))
    monkeypatch.setattr("functions.prepare_shard.parquet_blocks.read_chunk", None)
    with pytest.raises(MalformedDataError, match=r"a row group of 200 rows, more than the 199 that fit"):
        prepare(RECIPE, {"part-1.parquet": written(200)})

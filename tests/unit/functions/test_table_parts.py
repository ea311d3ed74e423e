"""A unit in several calls: every row once, whoever is late, and whoever is called twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from functions.prepare_shard import csv_blocks, jsonl_blocks
from functions.prepare_shard.tables import prepare_part, prepare_table
from functions.start_run.plan import list_raw
from functions.start_run.tables import plan_table
from lehr import layout
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.table_units import PrepareTableUnit, TableUnitResult
from lehr_runtime.shards import read_shard
from lehr_runtime.tables import from_tensors
from tests.fakes import InMemoryObjectStore
from tests.tables import RUN
from tests.unit.functions.test_parquet import RECIPE as PARQUET_RECIPE
from tests.unit.functions.test_parquet import written
from tests.unit.functions.test_prepare_table import HEADER, RECIPE, lines

CSV = (HEADER + lines(0, 500)).encode()
JSONL = b"".join(
    msgspec.json.encode(dict(zip(("km", "carrier", "class"), (int(km), *rest), strict=True))) + b"\n"
    for km, *rest in (line.split(",") for line in lines(0, 500).split())
)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(jsonl_blocks, "BLOCK_BYTES", 1000)


def late_after(blocks: int) -> Callable[[], bool]:
    """A clock that leaves time for so many blocks."""
    ticks = itertools.count(1)
    return lambda: next(ticks) >= blocks


def unit_of(name: str, raw: bytes, recipe: str) -> tuple[PrepareTableUnit, InMemoryObjectStore]:
    data = InMemoryObjectStore("data", {f"incoming/fares/{name}": raw})
    (unit,), _ = plan_table(parse_recipe(recipe), list_raw(data, "fares"), data, RUN)
    return unit, data


def kilometres(result: TableUnitResult, artifacts: InMemoryObjectStore) -> list[tuple[str, int]]:
    """Split and first number of every row."""
    rows = []
    for shard in result.shards:
        inputs = from_tensors(read_shard(artifacts.objects[shard.key]), place=shard.key)
        numbers = inputs if isinstance(inputs, np.ndarray) else inputs.numbers
        assert shard.rows == len(numbers)
        rows += [(shard.split, int(row[0])) for row in numbers]
    return sorted(rows)


def to_the_end(
    unit: PrepareTableUnit, data: InMemoryObjectStore, artifacts: InMemoryObjectStore, blocks: int
) -> tuple[TableUnitResult, int]:
    """The result, and how many calls it took; a unit goes through JSON from call to call."""
    for calls in itertools.count(1):
        answer = prepare_part(unit, data, artifacts, is_late=late_after(blocks))
        if isinstance(answer, TableUnitResult):
            return answer, calls
        assert (answer.part, answer.first > unit.first) == (calls, True)
        unit = PrepareTableUnit.from_value(answer.to_value())
    raise AssertionError


@pytest.mark.parametrize(
    ("name", "raw", "recipe"),
    [
        ("part-1.csv", CSV, RECIPE),
        ("part-1.jsonl", JSONL, RECIPE.replace("csv", "jsonl")),
        ("part-1.parquet", written(500, row_group_size=60), PARQUET_RECIPE),
    ],
    ids=["csv", "jsonl", "parquet"],
)
@pytest.mark.parametrize("blocks", [1, 3])
def test_several_calls_come_to_what_one_comes_to(name: str, raw: bytes, recipe: str, blocks: int) -> None:
    unit, data = unit_of(name, raw, recipe)
    at_once, in_parts = InMemoryObjectStore(), InMemoryObjectStore()
    one = prepare_table(unit, data, at_once)
    several, calls = to_the_end(unit, data, in_parts, blocks)
    assert calls > 1
    assert kilometres(several, in_parts) == kilometres(one, at_once)
    assert several.categories == one.categories
    assert [sums.rows for sums in several.numbers] == [sums.rows for sums in one.numbers]
    assert several.numbers[0].total == one.numbers[0].total
    stored = in_parts.objects[layout.unit_result_key("fares", RUN, 0)]
    assert TableUnitResult.from_json(stored) == several


def test_a_call_that_is_made_twice_goes_on_where_the_first_came_to() -> None:
    unit, data = unit_of("part-1.csv", CSV, RECIPE)
    artifacts = InMemoryObjectStore()
    first = prepare_part(unit, data, artifacts, is_late=late_after(2))
    assert isinstance(first, PrepareTableUnit)
    # Whether the second delivery is slower, faster, or as fast: the record that was written first counts.
    for blocks in (1, 4, 2):
        assert prepare_part(unit, data, artifacts, is_late=late_after(blocks)) == first
    result, _ = to_the_end(unit, data, artifacts, 3)
    assert [km for _, km in sorted(kilometres(result, artifacts), key=lambda row: row[1])] == list(range(500))


def test_a_range_of_a_file_may_take_several_calls_too() -> None:
    unit, data = unit_of("part-1.csv", CSV, RECIPE)
    half = len(CSV) // 2
    artifacts = InMemoryObjectStore()
    found = []
    for index, (first, count) in enumerate([(0, half), (half, len(CSV) - half)]):
        part = msgspec.structs.replace(unit, index=index, first=first, count=count)
        result, calls = to_the_end(part, data, artifacts, 1)
        assert calls > 2
        found += [km for _, km in kilometres(result, artifacts)]
    assert sorted(found) == list(range(500))

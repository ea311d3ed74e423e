"""When data is added most shards are those of the version before: what a unit writes is its own matter."""

from __future__ import annotations

import io

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from functions.prepare_shard.tables import prepare_table
from functions.prepare_shard.units import Unit, prepare_unit
from functions.start_run import table_cuts
from functions.start_run.plan import list_raw, plan_units
from functions.start_run.tables import plan_table
from lehr import layout
from lehr.contracts.recipe import parse_recipe
from lehr_runtime.shards import read_shard
from lehr_runtime.tables import from_tensors
from tests import sealed
from tests.fakes import InMemoryObjectStore
from tests.prepared_files import FilesWorld
from tests.tables import RUN
from tests.unit.functions.test_files import RECIPE as FOLDERS
from tests.unit.functions.test_files import some_images
from tests.unit.functions.test_parquet import RECIPE as PARQUET
from tests.unit.functions.test_parquet import written

Shards = set[tuple[str, str]]


def of_files(objects: dict[str, bytes]) -> Shards:
    """Split and sha256 of every shard."""
    world = FilesWorld(objects, FOLDERS)
    return {(shard.split, shard.sha256) for result in world.prepare() for shard in result.shards}


def of_table(files: dict[str, bytes], recipe: str = sealed.TABLE) -> Shards:
    prefix = layout.incoming_prefix("fares")
    data = InMemoryObjectStore("data", {prefix + name: raw for name, raw in files.items()})
    artifacts = InMemoryObjectStore()
    units, _ = plan_table(parse_recipe(recipe), list_raw(data, "fares"), data, RUN)
    results = [prepare_table(unit, data, artifacts) for unit in units]
    return {(shard.split, shard.sha256) for result in results for shard in result.shards}


def share_kept(before: Shards, after: Shards) -> float:
    return len(before & after) / len(before)


def text(rows: int, seed: int) -> bytes:
    return "".join(sealed.table(rows, seed)).encode()


def test_one_percent_more_files_in_a_folder_leave_most_shards_as_they_were() -> None:
    objects = some_images(2000)
    more = {
        f"incoming/shapes/round/{2000 + number}.png": raw
        for number, raw in enumerate(some_images(20, seed=9).values())
    }
    before, after = of_files(objects), of_files(objects | more)
    assert len(before) > 60
    assert share_kept(before, after) >= 0.75
    assert before != after


def test_a_second_file_of_a_table_leaves_every_shard_of_the_first() -> None:
    files = {"part-1.csv": text(400, 1), "test.csv": text(100, 2)}
    before, after = of_table(files), of_table(files | {"part-0.csv": text(300, 3)})
    assert before < after


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_rows_that_are_appended_to_a_file_of_many_ranges_change_its_end(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_cuts, "UNIT_BYTES", 2000)
    rows = sealed.table(2000, 1)
    more = sealed.table(150, 5)[1:]
    encode = lines_of if form == "jsonl" else "".join
    recipe = sealed.TABLE.replace("csv", form).replace("rows_per_shard = 100\n", "")
    test = {f"test.{form}": encode(sealed.table(50, 2)).encode()}
    before = of_table({f"part-1.{form}": encode(rows).encode()} | test, recipe)
    after = of_table({f"part-1.{form}": encode(rows + more).encode()} | test, recipe)
    assert len(before) > 40
    # Training, validation and test of the last range.
    assert len(before - after) <= 3


def lines_of(rows: list[str]) -> str:
    header, *lines = (row.strip().split(",") for row in rows)
    return "".join(
        msgspec.json.encode(
            {
                name: float(cell) if name in ("km", "seats") else cell
                for name, cell in zip(header, cells, strict=True)
            }
        ).decode()
        + "\n"
        for cells in lines
    )


def test_row_groups_that_are_appended_leave_those_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_cuts, "UNIT_BYTES", 4000)
    whole = pq.read_table(io.BytesIO(written(2100)))

    def first(rows: int) -> dict[str, bytes]:
        raw = io.BytesIO()
        pq.write_table(whole[:rows], raw, row_group_size=100)
        return {"part-1.parquet": raw.getvalue()}

    before, after = of_table(first(2000), PARQUET), of_table(first(2100), PARQUET)
    assert len(before) > 10
    assert len(before - after) <= 3


def test_images_of_training_do_not_change_with_those_of_the_test() -> None:
    arrays = sealed.images(300)
    other = arrays | {"tx": arrays["tx"][:50], "ty": arrays["ty"][:50]}
    before, after = (_of_pairs(one) for one in (arrays, other))
    assert {one for one in before if one[0] != "test"} == {one for one in after if one[0] != "test"}
    assert {one for one in before if one[0] == "test"} != {one for one in after if one[0] == "test"}


def _of_pairs(arrays: dict[str, np.ndarray]) -> Shards:
    prefix = layout.incoming_prefix("shapes")
    objects = {prefix + name: sealed.idx(array) for name, array in arrays.items()}
    data, artifacts = InMemoryObjectStore("data", objects), InMemoryObjectStore()
    units = plan_units(parse_recipe(sealed.IMAGES), list_raw(data, "shapes"), data, RUN)
    results = [prepare_unit(unit, data, artifacts) for unit in units]
    return {(shard.split, shard.sha256) for result in results for shard in result.shards}


def test_what_a_unit_writes_depends_neither_on_its_place_in_the_plan_nor_on_the_run() -> None:
    """Of every kind: another number, among more units, of another run, gives the same bytes."""
    prefix = layout.incoming_prefix("shapes")
    pairs = InMemoryObjectStore(
        "data", {prefix + name: sealed.idx(array) for name, array in sealed.images(300).items()}
    )
    fares = InMemoryObjectStore("data", {"incoming/fares/part-1.csv": text(300, 1)})
    table_recipe = parse_recipe(sealed.TABLE.replace('test_files = ["test.csv"]\n', ""))
    files = FilesWorld(some_images(90), FOLDERS)
    cases: list[tuple[Unit, InMemoryObjectStore]] = [
        (plan_units(parse_recipe(sealed.IMAGES), list_raw(pairs, "shapes"), pairs, RUN)[0], pairs),
        (plan_table(table_recipe, list_raw(fares, "fares"), fares, RUN)[0][0], fares),
        (files.plan().units[0], files.data),
    ]
    for unit, data in cases:
        elsewhere = msgspec.structs.replace(unit, run="run-2", index=7, of=9)
        found = []
        for one in (unit, elsewhere):
            artifacts = InMemoryObjectStore("artifacts", dict(files.artifacts.objects))
            found.append([shard.sha256 for shard in prepare_unit(one, data, artifacts).shards])
        assert found[0] == found[1]


def test_a_row_stays_in_its_split_wherever_the_cuts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = parse_recipe(sealed.TABLE.replace('test_files = ["test.csv"]\n', ""))
    data = InMemoryObjectStore("data", {"incoming/fares/part-1.csv": text(500, 1)})
    found = []
    for size in (table_cuts.UNIT_BYTES, 3000, 1700):
        monkeypatch.setattr(table_cuts, "UNIT_BYTES", size)
        artifacts = InMemoryObjectStore()
        rows = set()
        for unit in plan_table(recipe, list_raw(data, "fares"), data, RUN)[0]:
            for shard in prepare_table(unit, data, artifacts).shards:
                inputs = from_tensors(read_shard(artifacts.objects[shard.key]), place=shard.key)
                assert not isinstance(inputs, np.ndarray)
                rows |= {(shard.split, float(row[0])) for row in inputs.numbers}
        found.append(rows)
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 450

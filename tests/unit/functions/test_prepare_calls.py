"""Several units in one call write what each writes alone, whatever shares a call and wherever it stops."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.prepare_shard import app, csv_blocks
from functions.prepare_shard.calls import prepare_call
from functions.prepare_shard.units import Unit, prepare_unit
from functions.start_run.calls import (
    CALLS_AT_ONCE,
    SECONDS_PER_CALL,
    TABLE_BYTES_PER_S,
    plan_calls,
    seconds_of_files,
    seconds_of_pairs,
    seconds_of_tables,
    share_out,
)
from functions.start_run.plan import list_raw, plan_units
from functions.start_run.planned import Planned, write_plan
from functions.start_run.tables import plan_table
from lehr import layout
from lehr.contracts.prepare_calls import PrepareCall
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.table_units import PrepareTableUnit
from lehr.errors import ContractError
from tests import sealed
from tests.fakes import InMemoryObjectStore
from tests.prepared_files import FilesWorld
from tests.tables import RUN
from tests.unit.functions.test_files import RECIPE as FOLDERS
from tests.unit.functions.test_files import some_images
from tests.unit.functions.test_prepare_shard import CONTEXT

FILES = 20


def tables_of(files: int) -> tuple[list[PrepareTableUnit], InMemoryObjectStore]:
    prefix = layout.incoming_prefix("fares")
    objects = {f"{prefix}part-{n:02}.csv": "".join(sealed.table(40, n)).encode() for n in range(files)}
    objects[f"{prefix}test.csv"] = "".join(sealed.table(40, 99)).encode()
    data = InMemoryObjectStore("data", objects)
    return plan_table(parse_recipe(sealed.TABLE), list_raw(data, "fares"), data, RUN)[0], data


def written(units: list[Any], calls: list[PrepareCall]) -> InMemoryObjectStore:
    artifacts = InMemoryObjectStore("artifacts")
    write_plan(Planned(units, calls, "", 0), units[0].project, RUN, artifacts)
    return artifacts


def to_the_end(call: PrepareCall, data: Any, artifacts: Any, **clocks: Any) -> int:
    """How many calls it took; what is left goes through JSON from call to call."""
    left: PrepareCall | None = call
    for calls in itertools.count(1):
        assert left is not None
        _, left = prepare_call(PrepareCall.from_value(left.to_value()), data, artifacts, **clocks)
        if left is None:
            return calls
    raise AssertionError


NEVER_LATE = {"is_late": lambda: False, "may_begin": lambda: True}


@pytest.mark.parametrize("cut", [[20], [1, 19], [7, 6, 7]])
def test_shards_are_the_same_however_units_are_grouped(cut: list[int]) -> None:
    units, data = tables_of(FILES - 1)
    alone, together = InMemoryObjectStore("artifacts"), written(units, [])
    for unit in units:
        prepare_unit(unit, data, alone)
    first = 0
    for count in cut:
        call = PrepareCall(project="fares", run=RUN, first=first, count=count)
        assert to_the_end(call, data, together, **NEVER_LATE) == 1
        first += count
    del together.objects[layout.plan_key("fares", RUN)]
    assert together.objects == alone.objects


def test_a_call_that_has_no_time_for_another_unit_leaves_the_rest_and_nothing_changes() -> None:
    units, data = tables_of(FILES - 1)
    once, often = written(units, []), written(units, [])
    call = PrepareCall(project="fares", run=RUN, first=2, count=9)
    to_the_end(call, data, once, **NEVER_LATE)
    assert to_the_end(call, data, often, is_late=lambda: False, may_begin=lambda: False) == 9
    assert often.objects == once.objects


def test_a_call_that_is_late_within_a_unit_goes_on_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 300)
    units, data = tables_of(3)
    artifacts = written(units, [])
    ticks = itertools.count(1)
    call = PrepareCall(project="fares", run=RUN, first=0, count=len(units))
    assert to_the_end(call, data, artifacts, is_late=lambda: next(ticks) % 3 == 0, may_begin=lambda: True) > 2
    rows = 0
    for unit in units:
        key = layout.unit_result_key("fares", RUN, unit.index)
        result: Any = msgspec.json.decode(artifacts.objects[key])
        rows += sum(shard["rows"] for shard in result["shards"])
    assert rows == 160


def test_files_and_pairs_share_calls_too() -> None:
    world = FilesWorld(some_images(240), FOLDERS)
    units: list[Unit] = [*world.plan().units]
    assert len(units) > 1
    call = PrepareCall(project="shapes", run=RUN, first=0, count=len(units))
    results, left = prepare_call(call, world.data, world.artifacts, **NEVER_LATE)  # type: ignore[arg-type]
    assert ([one.index for one in results], left) == ([unit.index for unit in units], None)
    assert sum(shard.rows for one in results for shard in one.shards) == 240


def test_a_call_for_units_that_no_plan_has_is_refused() -> None:
    units, data = tables_of(3)
    with pytest.raises(ContractError, match="asks for units 3 to 5 of 4"):
        prepare_call(
            PrepareCall(project="fares", run=RUN, first=3, count=2),
            data,
            written(units, []),
            **NEVER_LATE,  # type: ignore[arg-type]
        )
    with pytest.raises(ContractError, match=r"the plan .* is not there"):
        prepare_call(
            PrepareCall(project="fares", run=RUN, first=0, count=1),
            data,
            InMemoryObjectStore(),
            **NEVER_LATE,  # type: ignore[arg-type]
        )


def test_the_handler_answers_with_what_is_left_when_time_runs_short(monkeypatch: pytest.MonkeyPatch) -> None:
    units, data = tables_of(3)
    artifacts = written(units, [])
    monkeypatch.setattr(app, "stores", lambda: (data, artifacts))
    event = PrepareCall(project="fares", run=RUN, first=0, count=len(units)).to_value()

    def context(left_ms: int) -> Any:
        return SimpleNamespace(**vars(CONTEXT), get_remaining_time_in_millis=lambda: left_ms)

    rest = app.handler(event, context(app.BEGIN_MS - 1))
    assert (rest["kind"], rest["first"], rest["count"]) == ("call", 1, 3)
    assert app.handler(rest, context(app.BEGIN_MS)) == {"index": 3, "rows": 120}


def test_few_units_are_a_call_each_and_the_map_reads_the_plan() -> None:
    units, _ = tables_of(3)
    calls = plan_calls(units, seconds_of_tables(units))
    assert calls == []
    assert write_plan(Planned(units, calls, "", 0), "fares", RUN, InMemoryObjectStore()) == layout.plan_key(
        "fares", RUN
    )


def test_many_small_units_share_calls_that_cover_the_plan() -> None:
    units, _ = tables_of(99)
    calls = plan_calls(units, seconds_of_tables(units))
    artifacts = InMemoryObjectStore()
    key = write_plan(Planned(units, calls, "", 0), "fares", RUN, artifacts)
    assert key == layout.calls_key("fares", RUN)
    read = msgspec.json.decode(artifacts.objects[key], type=list[PrepareCall])
    assert len(read) == CALLS_AT_ONCE
    covered = [place for call in read for place in range(call.first, call.first + call.count)]
    assert covered == list(range(100))


@given(st.lists(st.floats(0.01, 200.0), min_size=1, max_size=300))
def test_shares_cover_all_units_are_alike_and_as_many_as_run_at_once(seconds: list[float]) -> None:
    shares = list(share_out(seconds))
    assert [unit for first, count in shares for unit in range(first, first + count)] == [*range(len(seconds))]
    assert len(shares) <= max(CALLS_AT_ONCE, sum(seconds) / SECONDS_PER_CALL + 1)
    wanted = min(len(seconds), max(CALLS_AT_ONCE, round(sum(seconds) / SECONDS_PER_CALL)))
    own = [sum(seconds[first : first + count]) for first, count in shares]
    assert max(own) <= sum(seconds) / wanted + max(seconds)


def test_ten_gigabytes_are_calls_of_some_tens_of_seconds() -> None:
    seconds = [0.3 + (64 << 20) / TABLE_BYTES_PER_S["csv"]] * 149
    own = [sum(seconds[first : first + count]) for first, count in share_out(seconds)]
    assert len(own) >= CALLS_AT_ONCE
    assert all(20 <= one <= 60 for one in own)


def test_seconds_are_estimated_from_bytes_whatever_the_format() -> None:
    pairs, data = sealed.images(120), InMemoryObjectStore("data")
    for name, array in pairs.items():
        data.put(layout.incoming_prefix("shapes") + name, sealed.idx(array))
    units = plan_units(parse_recipe(sealed.IMAGES), list_raw(data, "shapes"), data, RUN)
    assert len(seconds_of_pairs(units)) == len(units)
    listed = FilesWorld(some_images(240), FOLDERS).plan()
    assert [one > 0.3 for one in seconds_of_files(list(listed.lists.values()))] == [True] * len(listed.units)
    (table, *_), _ = tables_of(1)
    huge = msgspec.structs.replace(table, count=int(TABLE_BYTES_PER_S["csv"]))
    assert seconds_of_tables([huge]) == [pytest.approx(1.3)]
    parquet = msgspec.structs.replace(
        table,
        format="parquet",
        file=msgspec.structs.replace(table.file, bytes=2 * int(TABLE_BYTES_PER_S["parquet"])),
        count=3,
    )
    assert seconds_of_tables([parquet] * 2) == [pytest.approx(1.3)] * 2

"""SealBatch: the parts in order and nothing besides, or the failure; result.json comes last."""

from __future__ import annotations

import pytest

from functions.seal_batch.seal import seal
from lehr import layout
from lehr.contracts.batch_prediction import (
    Batch,
    BatchFailure,
    BatchResult,
    BatchUnitResult,
    SealBatchRequest,
)
from lehr.errors import ContractError
from tests.fakes import InMemoryObjectStore

REQUEST = SealBatchRequest(project="mnist", batch="b1")
UNITS = 4


def planned() -> InMemoryObjectStore:
    store = InMemoryObjectStore("artifacts")
    batch = Batch(
        project="mnist", batch="b1", input="s3://d/k", model_version="v1", files=2, units=UNITS, rows=8
    )
    store.put(layout.batch_key("mnist", "b1"), batch.to_json())
    return store


def add(store: InMemoryObjectStore, index: int, *, refused: str = "") -> bytes:
    line = b"" if refused else b'{"row":%d}\n' % index
    if line:
        store.put(layout.batch_part_key("mnist", "b1", index), line)
    unit = BatchUnitResult(
        index=index,
        key=f"batches/mnist/{index}",
        first=0,
        rows=int(not refused),
        bytes=len(line),
        refused=refused,
    )
    store.put(layout.batch_unit_key("mnist", "b1", index), unit.to_json())
    return line


@pytest.fixture
def store() -> InMemoryObjectStore:
    return planned()


def test_parts_are_joined_in_the_order_of_the_plan_and_refused_units_are_named(
    store: InMemoryObjectStore,
) -> None:
    expected = {index: add(store, index, refused="broken" if index == 1 else "") for index in (3, 1, 0, 2)}
    result = seal(REQUEST, store)
    assert (result.status, result.rows, result.units, result.refused_units) == ("done", 3, UNITS, 1)
    assert [(row.key, row.reason) for row in result.refused] == [("batches/mnist/1", "broken")]
    (file,) = result.files
    assert store.objects[file] == expected[0] + expected[2] + expected[3]
    assert store.writes[-2:] == [file, layout.batch_result_key("mnist", "b1")]
    assert BatchResult.from_json(store.objects[store.writes[-1]]) == result


@pytest.mark.parametrize(("limit", "sizes"), [(10, [1, 1, 1, 1]), (25, [2, 2]), (35, [3, 1]), (1000, [4])])
def test_a_file_of_the_result_is_no_longer_than_its_limit(
    store: InMemoryObjectStore, limit: int, sizes: list[int]
) -> None:
    everything = b"".join(add(store, index) for index in range(UNITS))
    result = seal(REQUEST, store, max_joined_bytes=limit)
    assert [store.objects[key].count(b"\n") for key in result.files] == sizes
    assert b"".join(store.objects[key] for key in result.files) == everything


def test_a_batch_of_which_everything_is_refused_is_done_and_has_no_file(store: InMemoryObjectStore) -> None:
    for index in range(UNITS):
        add(store, index, refused="broken")
    result = seal(REQUEST, store)
    assert (result.status, result.files, result.rows, result.refused_units) == ("done", [], 0, UNITS)


def test_a_unit_that_left_nothing_is_not_passed_over(store: InMemoryObjectStore) -> None:
    for index in range(UNITS - 1):
        add(store, index)
    with pytest.raises(ContractError, match="3 of 4 units"):
        seal(REQUEST, store)
    assert layout.batch_result_key("mnist", "b1") not in store.objects


def test_a_failure_is_recorded_with_its_cause_and_joins_nothing(store: InMemoryObjectStore) -> None:
    add(store, 0)
    failure = BatchFailure(state="PredictBatchUnit", error="ModelPackageError", cause="is not there")
    result = seal(SealBatchRequest(project="mnist", batch="b1", failure=failure), store)
    assert (result.status, result.failure, result.files, result.rows) == ("failed", failure, [], 1)
    assert BatchResult.from_json(store.objects[layout.batch_result_key("mnist", "b1")]) == result


def test_sealing_again_gives_the_same_bytes(store: InMemoryObjectStore) -> None:
    for index in range(UNITS):
        add(store, index)
    seal(REQUEST, store)
    before = dict(store.objects)
    seal(REQUEST, store)
    assert store.objects == before

"""Tables as tensors and from JSON values: what goes in comes out, and what does not fit is refused by its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr.contracts.tables import Column
from lehr.errors import MalformedDataError
from lehr_runtime.shards import read_shard, write_shard
from lehr_runtime.tables import RowReader, Table, _read_columns, from_tensors, read_values, to_tensors

COLUMNS = [Column(name="km", kind="number"), Column(name="class", kind="category")]
MISSING = ["", "NA"]


@given(
    st.lists(
        st.tuples(st.floats(width=32), st.text(max_size=8), st.text(max_size=3)), min_size=1, max_size=40
    )
)
def test_a_table_survives_a_shard(rows: list[tuple[float, str, str]]) -> None:
    texts = np.empty((len(rows), 2), dtype=object)
    for place, (_, *cells) in enumerate(rows):
        texts[place] = cells
    table = Table(np.array([[row[0]] for row in rows], np.float32), texts)
    found = from_tensors(read_shard(write_shard(to_tensors(table))), place="s")
    assert isinstance(found, Table)
    assert np.array_equal(found.numbers, table.numbers, equal_nan=True)
    assert found.categories.tolist() == texts.tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {"categories": np.array([[2], [0]], np.int32)},
        {"categories": np.array([[-1], [0]], np.int32)},
        {"categories": np.zeros((2, 2), np.int32)},
        {"categories": np.zeros((3, 1), np.int32)},
        {"values": np.frombuffer(b'[["a"', np.uint8)},
        {"values": np.frombuffer(b'[["a", 1]]', np.uint8)},
    ],
)
def test_tensors_that_are_no_table_are_refused(changes: dict[str, np.ndarray]) -> None:
    tensors = to_tensors(Table(np.zeros((2, 1), np.float32), np.array([["a"], ["b"]], dtype=object)))
    assert isinstance(from_tensors(tensors, place="s"), Table)
    with pytest.raises(MalformedDataError, match=r"^s: "):
        from_tensors(tensors | changes, place="s")


def test_cells_and_json_values_of_a_row_are_the_same_inputs() -> None:
    reader = RowReader(COLUMNS, MISSING)
    builder = reader.builder()
    for row in ([" 1.5", "first "], ["NA", ""], ["-3e2", "4"]):
        builder.add(*reader.read(row))
    cells = builder.table()
    values = read_values(COLUMNS, MISSING, [[1.5, "first"], [None, None], [-300, 4]])
    assert np.array_equal(cells.numbers, values.numbers, equal_nan=True)
    assert cells.categories.tolist() == values.categories.tolist() == [["first"], [""], ["4"]]


@pytest.mark.parametrize(
    ("row", "place"),
    [
        (["1.5", "a"], "[1].km"),
        ([True, "a"], "[1].km"),
        ([1e39, "a"], "[1].km"),
        ([float("nan"), "a"], "[1].km"),
        ([[1], "a"], "[1].km"),
        ([1, 1.5], "[1].class"),
        ([1, True], "[1].class"),
        ([1, "x" * 300], "[1].class"),
    ],
)
def test_a_json_value_that_does_not_fit_its_column_is_refused(row: list[Any], place: str) -> None:
    with pytest.raises(MalformedDataError) as caught:
        read_values(COLUMNS, MISSING, [[1, "a"], row])
    assert caught.value.place == place


def test_a_cell_that_is_no_number_is_refused_by_its_column() -> None:
    with pytest.raises(ValueError, match="km: 'far' is no number"):
        RowReader(COLUMNS, MISSING).read(["far", "a"])


@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.none(), st.integers(-(10**40), 10**40), st.floats(), st.booleans(), st.text(max_size=2)
            ),
            st.one_of(
                st.none(),
                st.integers(-9, 9),
                st.booleans(),
                st.sampled_from(["", " a ", "NA", "ß", "x" * 300]),
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_reading_by_columns_is_reading_by_rows(rows: list[tuple[Any, Any]]) -> None:
    """What the fast way takes is what the walk takes, and what it does not take the walk refuses."""
    fast = _read_columns(RowReader(COLUMNS, MISSING), COLUMNS, rows)
    if fast is not None:
        slow = [read_values(COLUMNS, MISSING, [row]) for row in rows]
        assert np.array_equal(fast.numbers, np.concatenate([one.numbers for one in slow]), equal_nan=True)
        assert fast.categories.tolist() == [one.categories[0].tolist() for one in slow]
    one_by_one = []
    for row in rows:
        # With a second row that does not fit, the walk decides: it gets that far if the first one does.
        with pytest.raises(MalformedDataError) as caught:
            read_values(COLUMNS, MISSING, [row, [1, 1.5]])
        one_by_one.append(caught.value.place == "[1].class")
    assert (fast is not None) == all(one_by_one)

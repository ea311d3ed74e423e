"""Which rows of a test shard are in which slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lehr.contracts.comparison import MISSING, OTHER, Slicing
from lehr.contracts.gate_keys import LABEL, OBJECTS
from lehr.contracts.package import Signature
from lehr.errors import MismatchedDataError
from lehr_runtime.profiles import number_of_each
from lehr_runtime.tables import Inputs, Table


@dataclass(frozen=True)
class Slice:
    """One slice of a shard, and the places of its rows, int64 [k], of which there is at least one."""

    by: str
    value: str
    rows: np.ndarray


def cut(slicings: Sequence[Slicing], x: Inputs, y: np.ndarray, signature: Signature) -> list[Slice]:
    """The slices that have rows, of inputs `x` with targets `y` as their shard has them.

    Every row is in one slice of each slicing. Raises MismatchedDataError for a slicing that the data has nothing for.
    """
    return [
        Slice(slicing.by, value, rows)
        for slicing in slicings
        for value, rows in _cut(slicing, _cells(slicing.by, x, y, signature))
        if len(rows)
    ]


def _cut(slicing: Slicing, cells: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """`cells` are texts, empty where there is none, or numbers, NaN where there is none."""
    if cells.dtype == object:
        *values, _, _ = slicing.names
        known = {value: place for place, value in enumerate(values)} | {"": len(values) + 1}
        places = np.array([known.get(cell, len(values)) for cell in cells.tolist()], dtype=np.int64)
        names = [*values, OTHER, MISSING]
    else:
        edges = np.array(slicing.edges)
        places = np.where(np.isnan(cells), len(edges) + 1, np.searchsorted(edges, cells, side="right"))
        names = slicing.names if slicing.edges else [OTHER, MISSING]
    for place, name in enumerate(names):
        yield name, np.flatnonzero(places == place)


def _cells(by: str, x: Inputs, y: np.ndarray, signature: Signature) -> np.ndarray:
    """Of each row what it is sliced by: an object array of str, or float64."""
    table = signature.of_table
    if by == (table.target if table else LABEL):
        if y.dtype == np.float32:
            numbers: np.ndarray = y.astype(np.float64)
            return numbers
        names: np.ndarray = np.array([*signature.labels, None], dtype=object)[y]
        return names
    if table:
        return _column(by, x, signature)
    if by == OBJECTS and y.ndim == 3:
        boxes: np.ndarray = np.count_nonzero(y[..., 0] >= 0, axis=1).astype(np.float64)
        return boxes
    assert isinstance(x, np.ndarray)  # only a table has categories
    name, of_each = number_of_each(x)
    if by != name:
        raise MismatchedDataError(f"has no {by} to slice by", hint="see [evaluation.slices]")
    return of_each


def _column(by: str, x: Inputs, signature: Signature) -> np.ndarray:
    assert signature.of_table
    columns = signature.of_table.columns
    kind = next((column.kind for column in columns if column.name == by), None)
    if kind is None:
        raise MismatchedDataError(f"has no column {by!r} to slice by", hint="see [evaluation.slices]")
    place = [column.name for column in columns if column.kind == kind].index(by)
    if kind == "category":
        assert isinstance(x, Table)  # `evaluate` has held it against the signature
        categories: np.ndarray = x.categories[:, place]
        return categories
    numbers: np.ndarray = (x.numbers if isinstance(x, Table) else x)[:, place]
    return numbers.astype(np.float64)

"""Rows that are in the data more than once: by the hashes that every unit has written beside its shards.

A row that is tested on must not be learnt from. It is the training side that gives way, since the test's rows are what
versions and published figures are compared by, and whoever adds to the training data must not thin the test out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from lehr import layout
from lehr.contracts.dataset import PrepareUnit, Split, UnitResult
from lehr.contracts.table_units import PrepareTableUnit, TableUnitResult
from lehr.errors import ContractError
from lehr.ports import ObjectStore
from lehr_runtime.shards import read_shard

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# Hashes, their order and a copy are in memory at once, of the 2 GB that the function has.
MAX_ROWS_COMPARED = 20_000_000

Unit = PrepareUnit | PrepareTableUnit
R = TypeVar("R", UnitResult, TableUnitResult)


@dataclass(frozen=True)
class Origins:
    """Of one unit's rows in the order of its shards: uint64 hashes, places in `file`, and splits (places in SPLITS)."""

    file: str
    hashes: np.ndarray
    lines: np.ndarray
    splits: np.ndarray


@dataclass(frozen=True)
class Twin:
    """A row and the one that it repeats, each by unit and place in the unit."""

    unit: int
    row: int
    first_unit: int
    first_row: int


def read_origins(
    plan: Sequence[Unit], results: Sequence[UnitResult | TableUnitResult], artifacts: ObjectStore
) -> list[Origins] | None:
    """Of all units in their order; None if one of them wrote none. Raises ContractError for one that fits no shards."""
    found = []
    for unit, result in zip(plan, results, strict=True):
        key = layout.unit_rows_key(unit.project, unit.run, unit.index)
        try:
            tensors = read_shard(artifacts.get(key), place=artifacts.uri(key))
        except KeyError:
            return None
        splits = [np.full(shard.rows, SPLITS.index(shard.split), dtype=np.uint8) for shard in result.shards]
        origins = Origins(
            file=(unit.file if isinstance(unit, PrepareTableUnit) else unit.images).key.rpartition("/")[2],
            hashes=tensors["hash"],
            lines=tensors["line"],
            splits=np.concatenate(splits) if splits else np.empty(0, np.uint8),
        )
        if not len(origins.hashes) == len(origins.lines) == len(origins.splits):
            raise ContractError(
                f"{artifacts.uri(key)} has {len(origins.hashes)} rows, its shards {len(origins.splits)}"
            )
        found.append(origins)
    return found


def find_overlap(origins: Sequence[Origins]) -> list[Twin]:
    """Rows of the training and validation splits that are in the test split too, in their order."""
    known, units, rows = _of_split(origins, 2)
    order = np.argsort(known, kind="stable")
    known, units, rows = known[order], units[order], rows[order]
    if not len(known):
        return []
    twins = []
    for unit, one in enumerate(origins):
        places = np.minimum(np.searchsorted(known, one.hashes), len(known) - 1)
        for row in np.flatnonzero((known[places] == one.hashes) & (one.splits != 2)).tolist():
            twins.append(Twin(unit, row, int(units[places[row]]), int(rows[places[row]])))
    return twins


def find_duplicates(origins: Sequence[Origins]) -> list[Twin]:
    """Rows that their own split has had before, split by split."""
    twins = []
    for split in range(len(SPLITS)):
        hashes, units, rows = _of_split(origins, split)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        is_new = np.ones(len(ordered), dtype=bool)
        is_new[1:] = ordered[1:] != ordered[:-1]
        # The first of each run of equal hashes is the one that comes first in the data.
        firsts = order[np.maximum.accumulate(np.where(is_new, np.arange(len(ordered)), 0))]
        for place in np.flatnonzero(~is_new).tolist():
            here, first = order[place], firsts[place]
            twins.append(Twin(int(units[here]), int(rows[here]), int(units[first]), int(rows[first])))
    return twins


def _of_split(origins: Sequence[Origins], split: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hash, unit and place in the unit of a split's rows, in their order."""
    places = [np.flatnonzero(one.splits == split) for one in origins]
    hashes = [one.hashes[place] for one, place in zip(origins, places, strict=True)]
    units = [np.full(len(place), unit, dtype=np.int32) for unit, place in enumerate(places)]
    return np.concatenate(hashes), np.concatenate(units), np.concatenate(places)

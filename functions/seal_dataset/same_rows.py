"""Rows that are in the data more than once: by the hashes that every unit has written beside its shards.

A row that is tested on must not be learnt from. It is the training side that gives way, since the test's rows are what
versions and published figures are compared by, and whoever adds to the training data must not thin the test out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeVar

import numpy as np

from functions.seal_dataset.reading import read_all
from lehr import layout
from lehr.contracts.dataset import PrepareUnit, Split, UnitResult
from lehr.contracts.file_units import FileList, PrepareFilesUnit
from lehr.contracts.table_units import PrepareTableUnit, TableUnitResult
from lehr.errors import ContractError
from lehr.file_formats import shown_name
from lehr.ports import ObjectStore
from lehr_runtime.shards import read_shard

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# Hashes, their order, copies and as many twins are in memory at once: half of the 2 GB that the function has.
MAX_ROWS_COMPARED = 10_000_000

Unit = PrepareUnit | PrepareTableUnit | PrepareFilesUnit
R = TypeVar("R", UnitResult, TableUnitResult)


@dataclass(frozen=True)
class Origins:
    """Of one unit's rows in the order of its shards: uint64 hashes, places in `file`, and splits (places in SPLITS).

    Where every row is a file, `file` is empty, and the places are those in the list that `names` reads.
    """

    file: str
    names: Callable[[], list[str]]
    hashes: np.ndarray
    lines: np.ndarray
    splits: np.ndarray


@dataclass(frozen=True)
class Twins:
    """Rows and those that they repeat: arrays [n] of units and of places in the unit, for there may be millions."""

    units: np.ndarray
    rows: np.ndarray
    first_units: np.ndarray
    first_rows: np.ndarray

    def __len__(self) -> int:
        return len(self.units)

    def places(self, origins: Sequence[Origins]) -> np.ndarray:
        """Of the rows among those of all units, one unit after the other: int64 [n]."""
        begins = np.cumsum([0, *(len(one.hashes) for one in origins)])
        return np.asarray(begins[self.units] + self.rows)

    def __getitem__(self, chosen: np.ndarray | slice) -> Twins:
        return Twins(self.units[chosen], self.rows[chosen], self.first_units[chosen], self.first_rows[chosen])


def read_origins(
    plan: Sequence[Unit], results: Sequence[UnitResult | TableUnitResult], artifacts: ObjectStore
) -> list[Origins] | None:
    """Of all units in their order; None if one of them wrote none. Raises ContractError for one that fits no shards."""
    try:
        return read_all(lambda pair: _origins_of(*pair, artifacts), list(zip(plan, results, strict=True)))
    except KeyError:
        return None


def _origins_of(unit: Unit, result: UnitResult | TableUnitResult, artifacts: ObjectStore) -> Origins:
    keys = [layout.unit_rows_key(unit.project, unit.run, unit.index, part) for part in parts_of(result)]
    parts = [read_shard(artifacts.get(key), place=artifacts.uri(key)) for key in keys]
    splits = [np.full(shard.rows, SPLITS.index(shard.split), dtype=np.uint8) for shard in result.shards]
    origins = Origins(
        file=_file(unit),
        names=cache(partial(_names, unit, artifacts)),
        hashes=np.concatenate([tensors["hash"] for tensors in parts]),
        lines=np.concatenate([tensors["line"] for tensors in parts]),
        splits=np.concatenate(splits) if splits else np.empty(0, np.uint8),
    )
    if not len(origins.hashes) == len(origins.lines) == len(origins.splits):
        raise ContractError(
            f"{artifacts.uri(keys[0])} has {len(origins.hashes)} rows, its shards {len(origins.splits)}"
        )
    return origins


def parts_of(result: UnitResult | TableUnitResult) -> list[str]:
    """The names of what the unit's calls have left beside its result, which come in the order of its shards."""
    return (isinstance(result, TableUnitResult) and result.parts) or [""]


def _file(unit: Unit) -> str:
    if isinstance(unit, PrepareFilesUnit):
        return ""
    return shown_name((unit.file if isinstance(unit, PrepareTableUnit) else unit.images).key)


def _names(unit: Unit, artifacts: ObjectStore) -> list[str]:
    if not isinstance(unit, PrepareFilesUnit):
        return []
    prefix = layout.incoming_prefix(unit.project)
    return [
        one.file.key.removeprefix(prefix) for one in FileList.from_json(artifacts.get(unit.list_key)).examples
    ]


def find_overlap(origins: Sequence[Origins]) -> Twins:
    """Rows of the training and validation splits that are in the test split too, in their order."""
    known, units, rows = _of_split(origins, 2)
    order = np.argsort(known, kind="stable")
    known, units, rows = known[order], units[order], rows[order]
    found = [Twins(*(np.empty(0, np.int64) for _ in range(4)))]
    for unit, one in enumerate(origins if len(known) else ()):
        mine = np.flatnonzero(one.splits != 2)
        # In order of their hashes: looking them up is then one way through memory.
        mine = mine[np.argsort(one.hashes[mine])]
        places = np.minimum(np.searchsorted(known, one.hashes[mine]), len(known) - 1)
        is_known = known[places] == one.hashes[mine]
        mine, places = mine[is_known], places[is_known]
        again = np.argsort(mine)
        mine, places = mine[again], places[again]
        found.append(Twins(np.full(len(mine), unit), mine, units[places], rows[places]))
    return _together(found)


def find_duplicates(origins: Sequence[Origins]) -> Twins:
    """Rows that their own split has had before, split by split."""
    found = []
    for split in range(len(SPLITS)):
        hashes, units, rows = _of_split(origins, split)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        is_new = np.ones(len(ordered), dtype=bool)
        is_new[1:] = ordered[1:] != ordered[:-1]
        # The first of each run of equal hashes is the one that comes first in the data.
        firsts = order[np.maximum.accumulate(np.where(is_new, np.arange(len(ordered)), 0))]
        here, first = order[~is_new], firsts[~is_new]
        found.append(Twins(units[here], rows[here], units[first], rows[first]))
    return _together(found)


def _together(parts: Sequence[Twins]) -> Twins:
    return Twins(
        np.concatenate([part.units for part in parts]),
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.first_units for part in parts]),
        np.concatenate([part.first_rows for part in parts]),
    )


def _of_split(origins: Sequence[Origins], split: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hash, unit and place in the unit of a split's rows, in their order."""
    places = [np.flatnonzero(one.splits == split) for one in origins]
    hashes = [one.hashes[place] for one, place in zip(origins, places, strict=True)]
    units = [np.full(len(place), unit, dtype=np.int32) for unit, place in enumerate(places)]
    return np.concatenate(hashes), np.concatenate(units), np.concatenate(places)

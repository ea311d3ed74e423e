"""A unit without the rows that were set aside: its shards, sums and profile, as if they had never been there."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np

from functions.seal_dataset.same_rows import R, Unit
from lehr import layout
from lehr.contracts.dataset import Shard
from lehr.contracts.profile import UnitProfile
from lehr.contracts.table_units import NumberSums, PrepareTableUnit, TableUnitResult
from lehr.ports import ObjectStore
from lehr_runtime.profiles import count_texts, number_sums, pixel_sums, profile_images, profile_table
from lehr_runtime.shard_storing import put_shard
from lehr_runtime.shards import read_shard
from lehr_runtime.tables import Inputs, Table, from_tensors


def keep_rows(
    unit: Unit, result: R, profiles: list[UnitProfile], kept: np.ndarray, artifacts: ObjectStore
) -> tuple[R, list[UnitProfile]]:
    """Write shards of the rows that `kept` [rows of the unit, in the order of its shards] says; returns what is true
    of them. Sums are taken anew, since what was added to a float cannot be taken away exactly.
    """
    shards: list[Shard] = []
    training: list[tuple[Inputs, np.ndarray]] = []
    first = 0
    changed = False
    for number, shard in enumerate(result.shards):
        mask = kept[first : first + shard.rows]
        first += shard.rows
        if mask.all() and shard.split != "train":
            shards.append(shard)
            continue
        tensors = read_shard(artifacts.get(shard.key), place=artifacts.uri(shard.key))
        x, y = from_tensors(tensors, place=shard.key)[mask], tensors["y"][mask]
        if shard.split == "train":
            training.append((x, y))
            changed |= not mask.all()
        if mask.all():
            shards.append(shard)
        elif len(y):
            key = layout.kept_shard_key(unit.project, unit.run, shard.split, unit.index, number)
            shards.append(put_shard(artifacts, key, shard.split, x, y, labels=len(shard.class_counts)))
    replaced = msgspec.structs.replace(result, shards=shards)
    return _resummed(unit, replaced, profiles, training) if changed else (replaced, profiles)


def _resummed(
    unit: Unit, result: R, profiles: list[UnitProfile], training: list[tuple[Inputs, np.ndarray]]
) -> tuple[R, list[UnitProfile]]:
    y = np.concatenate([targets for _, targets in training])
    changes: dict[str, Any]
    if isinstance(unit, PrepareTableUnit) and isinstance(result, TableUnitResult):
        tables = [x if isinstance(x, Table) else _numbers_alone(x) for x, _ in training]
        table = Table(
            np.concatenate([one.numbers for one in tables]),
            np.concatenate([one.categories for one in tables]),
        )
        changes = {
            "numbers": [number_sums(column) for column in table.numbers.T],
            "categories": [count_texts(column) for column in table.categories.T],
            "target": NumberSums() if unit.table.labels else number_sums(y),
        }
        anew = profile_table(unit.index, table, y, unit.table)
    else:
        x = np.concatenate([inputs for inputs, _ in training if isinstance(inputs, np.ndarray)])
        pixel_sum, pixel_square_sum = pixel_sums(x)
        changes = {"pixels": x.size, "pixel_sum": pixel_sum, "pixel_square_sum": pixel_square_sum}
        anew = profile_images(unit.index, x, y)
    outside: Counter[str] = Counter()
    for profile in profiles:
        outside.update(profile.out_of_range)
    anew = msgspec.structs.replace(anew, out_of_range=dict(outside))
    return msgspec.structs.replace(result, **changes), [anew]


def _numbers_alone(x: np.ndarray) -> Table:
    return Table(x, np.empty((len(x), 0), dtype=object))

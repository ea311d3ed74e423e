"""One unit of a table, a file or a part of it: to shards, with what cannot be read set aside.

Everything is a function of the unit alone. A row's split is one of the row's own cells: it stays where it is when data
is added, and equal rows are never on both sides. What a row is refused for is written to the quarantine, and too many
refused rows are an error, since a wrong schema refuses them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from functions.prepare_shard.origins import write_origins
from functions.prepare_shard.parts import settle
from functions.prepare_shard.quarantine import MAX_QUARANTINED, Refused
from functions.prepare_shard.ranges import Ranges
from functions.prepare_shard.splits import RowHasher, choose_splits
from functions.prepare_shard.table_blocks import Block, TableReader, max_rows
from functions.prepare_shard.table_sources import AT_END, open_blocks
from lehr import layout
from lehr.contracts.dataset import Shard, Split
from lehr.contracts.table_units import NumberSums, PrepareTableUnit, TableUnitResult
from lehr.errors import InsufficientDataError, MalformedDataError
from lehr.ports import ObjectStore
from lehr.table_plans import with_table
from lehr_runtime.profiles import count_texts, number_sums, profile_table
from lehr_runtime.shard_storing import put_shard
from lehr_runtime.tables import Table

# Of one column in one file: five times what may be learnt in the end, and little enough to merge over many files.
MAX_DISTINCT = 100_000
MAX_DISTINCT_TOGETHER = 1_000_000
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Rows:
    """What was read: inputs, targets, which split each row belongs to (a place in _SPLITS), its line, and its hash.

    `out_of_range` counts values outside of [checks.ranges] by column, of refused rows too; `next_first` is where the
    next call goes on, AT_END if there is nothing left to read.
    """

    table: Table
    targets: np.ndarray
    splits: np.ndarray
    lines: np.ndarray
    hashes: np.ndarray
    out_of_range: dict[str, int]
    next_first: int


def prepare_table(
    unit: PrepareTableUnit, data: ObjectStore, artifacts: ObjectStore, pii_key: str = ""
) -> TableUnitResult:
    """Write the unit's shards, its refused rows and its TableUnitResult.

    Raises DataError's children for a file to put right, ContractError for a unit that no plan of ours contains.
    """
    answer = prepare_part(unit, data, artifacts, pii_key, is_late=lambda: False)
    assert isinstance(answer, TableUnitResult)  # there is all the time in the world
    return answer


def prepare_part(
    planned: PrepareTableUnit,
    data: ObjectStore,
    artifacts: ObjectStore,
    pii_key: str = "",
    *,
    is_late: Callable[[], bool],
) -> TableUnitResult | PrepareTableUnit:
    """As `prepare_table`, until `is_late` says so: what is left to read by then is the answer."""
    unit = with_table(planned, artifacts)
    rows, quarantine, refused = read_file(unit, data, pii_key, is_late)
    if refused:
        lines = b"".join(msgspec.json.encode(one) + b"\n" for one in quarantine)
        artifacts.put(layout.quarantine_key(unit.project, unit.run, unit.index, unit.part), lines)
    total = len(rows.table) + refused
    if (not total and not unit.first) or refused > unit.max_refused_fraction * total:
        examples = "; ".join(f"{one.place}: {one.reason}" for one in quarantine[:3])
        raise MalformedDataError(
            f"{refused} of {total} rows are refused: {examples}" if total else "has no rows",
            place=data.uri(unit.file.key),
            hint="put data.columns, data.labels or the file right, or allow more with data.max_refused_fraction"
            if total
            else "the first line names the columns, the rows come below",
        )
    order = np.random.Generator(np.random.PCG64(unit.seed)).permutation(len(rows.table))
    part = _part_name(unit, rows.next_first)
    shards: list[Shard] = []
    for place, split in enumerate(_SPLITS):
        chosen = order[rows.splits[order] == place]
        for first in range(0, len(chosen), unit.rows_per_shard):
            shards.append(
                _write(
                    unit,
                    split,
                    part,
                    len(shards),
                    rows,
                    chosen[first : first + unit.rows_per_shard],
                    artifacts,
                )
            )
    training = rows.table[rows.splits == 0]
    targets = rows.targets[rows.splits == 0]
    result = TableUnitResult(
        index=unit.index,
        shards=shards,
        numbers=[number_sums(column) for column in training.numbers.T],
        categories=[count_texts(column) for column in training.categories.T],
        target=NumberSums() if unit.table.labels else number_sums(targets),
        refused=refused,
        parts=[part] if part else [],
    )
    by_split = order[np.argsort(rows.splits[order], kind="stable")]
    write_origins(unit, rows.hashes[by_split], rows.lines[by_split], artifacts, part)
    profile = profile_table(unit.index, training, targets, unit.table)
    profile = msgspec.structs.replace(profile, out_of_range=rows.out_of_range)
    key = layout.unit_profile_key(unit.project, unit.run, unit.index, part)
    artifacts.put(key, profile.to_json(), content_type="application/json")
    return settle(planned, result, rows.next_first, artifacts)


def _part_name(unit: PrepareTableUnit, next_first: int) -> str:
    """Of what one call has written of a unit that takes several: from where to where, which is a matter of time."""
    if not unit.part and next_first == AT_END:
        return ""
    return f"from-{unit.first}-to-{unit.file.bytes if next_first == AT_END else next_first}"


def read_file(
    unit: PrepareTableUnit, data: ObjectStore, pii_key: str = "", is_late: Callable[[], bool] = lambda: False
) -> tuple[Rows, list[Refused], int]:
    """The unit's rows in their order, the first MAX_QUARANTINED of those that are refused, and how many are.

    `is_late` is asked after every block of rows; once it says so, the rest is left to the next call.
    """
    schema, place = unit.table, data.uri(unit.file.key)
    reader, blocks = open_blocks(unit, data, pii_key)
    ranges = Ranges(unit, reader)
    numbers, categories = len(reader.numbers), len(reader.categories)
    most = max_rows(numbers, categories)
    max_distinct = min(MAX_DISTINCT * categories, MAX_DISTINCT_TOGETHER)
    kept: list[Block] = []
    quarantine: list[Refused] = []
    rows = refused = 0
    next_first = AT_END
    hasher, hashes = RowHasher(reader.texts.all, schema.labels), list[np.ndarray]()
    for position, found in blocks:
        block = ranges.hold(found)
        kept.append(block)
        hashes.append(hasher.hashes(block.numbers, block.codes, block.targets))
        rows += len(block.targets)
        refused += len(block.refused)
        quarantine += block.refused[: MAX_QUARANTINED - len(quarantine)]
        if len(reader.texts) > max_distinct:
            raise _too_many_values(kept, reader.categories, place)
        if rows > most:
            raise MalformedDataError(
                f"has more than {most} rows",
                place=place,
                hint="cut it into several files, each with the header",
            )
        if position != AT_END and is_late():
            next_first = position
            break
    table, targets, lines = _joined(kept, reader)
    bits = np.concatenate([np.empty(0, np.uint64), *hashes])
    splits = choose_splits(
        bits, test_fraction=unit.test_fraction, validation_fraction=unit.validation_fraction
    )
    if unit.is_test:
        splits[:] = 2
    targets = targets.astype(np.uint8) if schema.labels else targets
    return Rows(table, targets, splits, lines, bits, ranges.outside, next_first), quarantine, refused


def _joined(blocks: list[Block], reader: TableReader) -> tuple[Table, np.ndarray, np.ndarray]:
    """The rows of all blocks: inputs, targets and lines."""
    numbers = np.concatenate(
        [np.empty((0, len(reader.numbers)), np.float32), *(one.numbers for one in blocks)]
    )
    codes = np.concatenate([np.empty((0, len(reader.categories)), np.int32), *(one.codes for one in blocks)])
    targets = np.concatenate([np.empty(0, np.float32), *(one.targets for one in blocks)])
    lines = np.concatenate([np.empty(0, np.int64), *(one.lines for one in blocks)])
    blocks.clear()
    texts = np.array([*reader.texts.all, None], dtype=object)
    return Table(numbers, texts[codes]), targets, lines


def _too_many_values(blocks: list[Block], names: list[str], place: str) -> InsufficientDataError:
    codes = np.concatenate([block.codes for block in blocks])
    sizes = {name: len(np.unique(column)) for name, column in zip(names, codes.T, strict=True)}
    name = max(sizes, key=lambda one: sizes[one])
    return InsufficientDataError(
        f"the column {name} has {sizes[name]} different values and more, too many to learn from",
        place=place,
        hint=f'leave it out with data.columns: "{name}" = "ignore", or make it coarser',
    )


def _write(
    unit: PrepareTableUnit,
    split: Split,
    part: str,
    number: int,
    rows: Rows,
    chosen: np.ndarray,
    artifacts: ObjectStore,
) -> Shard:
    place = (unit.project, unit.run, split, unit.index)
    key = layout.staged_table_shard_key(*place, number)
    if part:
        key = layout.staged_table_part_key(*place, part, number)
    labels = len(unit.table.labels)
    return put_shard(artifacts, key, split, rows.table[chosen], rows.targets[chosen], labels=labels)

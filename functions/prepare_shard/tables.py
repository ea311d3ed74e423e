"""One file of a table: from text to shards, with what cannot be read set aside.

Everything is a function of the unit alone. A row's split is one of the row's own cells: it stays where it is when data
is added, and equal rows are never on both sides. What a row is refused for is written to the quarantine, and too many
refused rows are an error, since a wrong schema refuses them all.
"""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass

import msgspec
import numpy as np

from functions.prepare_shard.origins import write_origins
from functions.prepare_shard.quarantine import MAX_QUARANTINED, Refused
from functions.prepare_shard.ranges import Ranges
from lehr import layout
from lehr.contracts.dataset import Shard, Split
from lehr.contracts.table_units import NumberSums, PrepareTableUnit, TableUnitResult
from lehr.csv_rows import iterate_rows, read_header
from lehr.errors import (
    ContractError,
    InsufficientDataError,
    MalformedDataError,
    MismatchedDataError,
    MissingDataError,
)
from lehr.number_cells import read_number
from lehr.ports import ObjectStore
from lehr_runtime.decode import decode_text
from lehr_runtime.profiles import count_texts, number_sums, profile_table
from lehr_runtime.row_hashes import table_hashes
from lehr_runtime.shards import write_shard
from lehr_runtime.tables import Table, as_inputs, schema_reader, to_tensors

# Three to four times as much is in memory at once, of the 2 GB that the function has.
MAX_TEXT_BYTES = 256 << 20
# Of one column in one file: five times what may be learnt in the end, and little enough to merge over many files.
MAX_DISTINCT = 100_000
MAX_DISTINCT_TOGETHER = 1_000_000
# What the rows take beside the text: narrow ones are many, and an array and its copy are there at once.
MAX_ARRAY_BYTES = 1 << 30
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Rows:
    """What was read: inputs, targets, which split each row belongs to (a place in _SPLITS), and its line.

    `out_of_range` counts values outside of [checks.ranges] by column, of refused rows too.
    """

    table: Table
    targets: np.ndarray
    splits: np.ndarray
    lines: np.ndarray
    out_of_range: dict[str, int]


def prepare_table(
    unit: PrepareTableUnit, data: ObjectStore, artifacts: ObjectStore, pii_key: str = ""
) -> TableUnitResult:
    """Write the unit's shards, its refused rows and its TableUnitResult.

    Raises DataError's children for a file to put right, ContractError for a unit that no plan of ours contains.
    """
    rows, quarantine, refused = read_file(unit, data, pii_key)
    if refused:
        lines = b"".join(msgspec.json.encode(one) + b"\n" for one in quarantine)
        artifacts.put(layout.quarantine_key(unit.project, unit.run, unit.index), lines)
    total = len(rows.table) + refused
    if not total or refused > unit.max_refused_fraction * total:
        examples = "; ".join(f"line {one.line}: {one.reason}" for one in quarantine[:3])
        raise MalformedDataError(
            f"{refused} of {total} rows are refused: {examples}" if total else "has no rows",
            place=data.uri(unit.file.key),
            hint="put data.columns, data.labels or the file right, or allow more with data.max_refused_fraction"
            if total
            else "the first line names the columns, the rows come below",
        )
    order = np.random.Generator(np.random.PCG64(unit.seed)).permutation(len(rows.table))
    shards: list[Shard] = []
    for place, split in enumerate(_SPLITS):
        chosen = order[rows.splits[order] == place]
        for first in range(0, len(chosen), unit.rows_per_shard):
            shards.append(
                _write(unit, split, len(shards), rows, chosen[first : first + unit.rows_per_shard], artifacts)
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
    )
    by_split = order[np.argsort(rows.splits[order], kind="stable")]
    hashes = table_hashes(rows.table, rows.targets)
    write_origins(unit, hashes[by_split], rows.lines[by_split], artifacts)
    profile = profile_table(unit.index, training, targets, unit.table)
    profile = msgspec.structs.replace(profile, out_of_range=rows.out_of_range)
    key = layout.unit_profile_key(unit.project, unit.run, unit.index)
    artifacts.put(key, profile.to_json(), content_type="application/json")
    key = layout.unit_result_key(unit.project, unit.run, unit.index)
    artifacts.put(key, result.to_json(), content_type="application/json")
    return result


def read_file(
    unit: PrepareTableUnit, data: ObjectStore, pii_key: str = ""
) -> tuple[Rows, list[Refused], int]:
    """The file's rows in their order, the first MAX_QUARANTINED of those that are refused, and how many are."""
    schema, place = unit.table, data.uri(unit.file.key)
    text = decode_text(_get(unit, data), place=place, max_bytes=MAX_TEXT_BYTES)
    lines = iterate_rows(text, schema.delimiter, place=place)
    _, header = next(lines, (1, []))
    names = read_header(header, place=place)
    wanted = [column.name for column in schema.columns] + [schema.target]
    absent = [name for name in wanted if name not in names]
    if absent:
        raise MismatchedDataError(
            f"has no column {', '.join(absent)}",
            place=place,
            hint="all files of a table have the same columns",
        )
    places = [names.index(name) for name in wanted]
    ranges = Ranges(unit)
    reader, file = schema_reader(schema, pii_key), unit.file.key.rpartition("/")[2]
    builder, targets, splits, places_in_file = reader.builder(), array("f"), bytearray(), array("q")
    quarantine: list[Refused] = []
    refused = 0
    numbers, categories = len(schema.named("number")), len(schema.named("category"))
    max_rows = MAX_ARRAY_BYTES // (8 * numbers + 16 * categories + 64)
    max_distinct = min(MAX_DISTINCT * categories, MAX_DISTINCT_TOGETHER)
    for line, cells in lines:
        try:
            if len(cells) != len(names):
                raise ValueError(f"{len(cells)} cells where the header has {len(names)}")
            *inputs, target = [cells[place] for place in places]
            row, y = reader.read(inputs), _target(unit, target)
            ranges.check(row[0], y)
        except ValueError as fault:
            refused += 1
            if len(quarantine) < MAX_QUARANTINED:
                quarantine.append(Refused(file, line, str(fault)))
            continue
        builder.add(*row)
        if builder.distinct > max_distinct:
            raise _too_many_values(builder.table(), schema.named("category"), place)
        if len(targets) == max_rows:
            raise MalformedDataError(
                f"has more than {max_rows} rows",
                place=place,
                hint="cut it into several files, each with the header",
            )
        targets.append(y)
        places_in_file.append(line)
        splits.append(2 if unit.is_test else _split(unit, [*inputs, target]))
    dtype = np.uint8 if schema.labels else np.float32
    return (
        Rows(
            builder.table(),
            np.array(targets, dtype=dtype),
            np.frombuffer(splits, np.uint8),
            np.array(places_in_file, dtype=np.int64),
            ranges.outside,
        ),
        quarantine,
        refused,
    )


def _split(unit: PrepareTableUnit, cells: list[str]) -> int:
    """The place in _SPLITS that a row's own cells give it."""
    digest = hashlib.blake2b("\x1f".join(cells).encode(), digest_size=8).digest()
    share = int.from_bytes(digest) / 2**64
    if share < unit.test_fraction:
        return 2
    rest = (share - unit.test_fraction) / (1 - unit.test_fraction)
    return 1 if rest < unit.validation_fraction else 0


def _target(unit: PrepareTableUnit, cell: str) -> float:
    schema, text = unit.table, cell.strip()
    if schema.labels:
        if text in schema.labels:
            return schema.labels.index(text)
        raise ValueError(f"{schema.target}: {text[:40]!r} is none of data.labels")
    if text in schema.missing:
        raise ValueError(f"{schema.target}: the number to predict is missing")
    try:
        return read_number(text)
    except ValueError as fault:
        raise ValueError(f"{schema.target}: {text[:40]!r} is no number within float32") from fault


def _too_many_values(table: Table, names: list[str], place: str) -> InsufficientDataError:
    sizes = {name: len(set(column)) for name, column in zip(names, table.categories.T.tolist(), strict=True)}
    name = max(sizes, key=lambda one: sizes[one])
    return InsufficientDataError(
        f"the column {name} has {sizes[name]} different values and more, too many to learn from",
        place=place,
        hint=f'leave it out with data.columns: "{name}" = "ignore", or make it coarser',
    )


def _write(
    unit: PrepareTableUnit, split: Split, number: int, rows: Rows, chosen: np.ndarray, artifacts: ObjectStore
) -> Shard:
    targets = rows.targets[chosen]
    raw = write_shard(to_tensors(as_inputs(rows.table[chosen])) | {"y": targets})
    key = layout.staged_table_shard_key(unit.project, unit.run, split, unit.index, number)
    artifacts.put(key, raw)
    labels = len(unit.table.labels)
    return Shard(
        split=split,
        key=key,
        rows=len(chosen),
        bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        class_counts=np.bincount(targets, minlength=labels).tolist() if labels else [],
    )


def _get(unit: PrepareTableUnit, data: ObjectStore) -> bytes:
    if unit.file.bucket != data.bucket:
        raise ContractError(
            f"the unit names bucket {unit.file.bucket}; raw data is read from {data.bucket} only"
        )
    try:
        return data.get(unit.file.key, etag=unit.file.etag)
    except KeyError as fault:
        raise MissingDataError(
            "is not there", place=data.uri(unit.file.key), hint="it was deleted after _READY"
        ) from fault

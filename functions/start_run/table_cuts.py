"""A file of a table as units of work: whole, in ranges of bytes, or in row groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from functions.start_run.pins import read_start
from lehr.errors import MalformedDataError
from lehr.idx import is_gzipped
from lehr.parquet_footer import ParquetFile, row_group_runs
from lehr.ports import ObjectStore, StoredObject

# Of plain text: 2 s of numbers to 10 s of quoted texts (docs/tables.md, "How fast"), and 400 MB of the function's 2 GB;
# the last unit of a file has up to half as much again.
UNIT_BYTES = 64 << 20
MAX_GROUP_BYTES = 256 << 20
# A gzip file is read from its start, so it is one unit, whose text and arrays are in the function's memory together.
MAX_GZIP_BYTES = 256 << 20


def cut_text(entry: StoredObject, data: ObjectStore) -> Iterator[tuple[int, int]]:
    """(first, count) of each unit, (0, 0) for all of it: every UNIT_BYTES from the start of the file on.

    So a file to which rows are appended has the units that it had, but for the last. Raises DataError's children for a
    file that cannot be cut.
    """
    firsts = range(0, max(1, entry.bytes - UNIT_BYTES // 2), UNIT_BYTES)
    if len(firsts) == 1:
        yield 0, 0
        return
    if is_gzipped(read_start(entry, 2, data)):
        if entry.bytes > MAX_GZIP_BYTES:
            raise MalformedDataError(
                f"has {entry.bytes} bytes, more than {MAX_GZIP_BYTES} of a gzip file",
                place=data.uri(entry.key),
                hint="drop it as plain text, which may be of any size, or cut it into files, each with the header",
            )
        yield 0, 0
        return
    for first, end in pairwise([*firsts, entry.bytes]):
        yield first, end - first


def cut_parquet(described: ParquetFile, wanted: Sequence[str], place: str) -> Iterator[tuple[int, int]]:
    """(first, count) of each unit: row groups of about UNIT_BYTES of the columns that are wanted.

    Raises MalformedDataError for one that does not fit into memory, or is stored in a way that is not read.
    """
    sizes = []
    for group in described.groups:
        size = 0
        for name in wanted:
            chunk = group.chunks.get(name)
            if chunk is None or chunk.misfit:
                raise MalformedDataError(
                    f"has a column {name} that {chunk.misfit if chunk else 'is missing in a row group'}",
                    place=place,
                    hint="write it as pyarrow does by itself: snappy, gzip or zstd, plain or with a dictionary",
                )
            size += chunk.plain_bytes
        if max(size, group.rows * len(wanted) * 4) > MAX_GROUP_BYTES:
            raise MalformedDataError(
                f"has a row group of {group.rows} rows and {size} bytes, more than {MAX_GROUP_BYTES} bytes in memory",
                place=place,
                hint="write it with smaller row groups, for example row_group_size=1_000_000 // columns",
            )
        sizes.append(size)
    yield from row_group_runs(sizes, UNIT_BYTES)

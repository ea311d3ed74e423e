"""What a Parquet file says of itself at its end: its columns, and where each row group has them.

Flat tables of numbers and texts are read; whatever else a column may be is said in words, and refused where it is
wanted. https://parquet.apache.org/docs/file-format, https://github.com/apache/parquet-format/blob/master/src/main/thrift
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lehr.contracts.dataset import ObjectRef
from lehr.contracts.tables import ColumnKind
from lehr.errors import MalformedDataError
from lehr.ports import RangeReader
from lehr.thrift_compact import ThriftError, read_struct

BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED = range(8)
PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY, BYTE_STREAM_SPLIT = 0, 2, 3, 8, 9
UNCOMPRESSED, SNAPPY, GZIP, ZSTD = 0, 1, 2, 6
_CODECS = {UNCOMPRESSED, SNAPPY, GZIP, ZSTD}
_CODEC_NAMES = dict(enumerate(("none", "snappy", "gzip", "lzo", "brotli", "lz4", "zstd", "lz4_raw")))
_ENCODINGS = {
    PLAIN,
    PLAIN_DICTIONARY,
    RLE,
    RLE_DICTIONARY,
    BYTE_STREAM_SPLIT,
    4,
}  # 4: of levels, in old files
_ENCODING_NAMES = {5: "DELTA_BINARY_PACKED", 6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY"}
_MAGIC = b"PAR1"
_TAIL_BYTES = 64 << 10
MAX_FOOTER_BYTES = 64 << 20
_REQUIRED, _OPTIONAL = 0, 1
# Of `logicalType`, a union by the fields' numbers, and of its elder, `converted_type`.
_STRING, _INTEGER = 1, 10
_ENUM, _JSON = 4, 12
_LOGICAL = {
    5: "decimals",
    6: "dates",
    7: "times",
    8: "times",
    11: "nothing",
    13: "BSON",
    14: "UUIDs",
    15: "halves",
}
_CONVERTED = {
    5: "decimals",
    6: "dates",
    7: "times",
    8: "times",
    9: "times",
    10: "times",
    20: "BSON",
    21: "spans",
}
_UNSIGNED = range(11, 15)


@dataclass(frozen=True)
class ParquetColumn:
    """A column: `kind` is what it is to a model, or why it can be nothing, and `type` how its values are stored."""

    name: str
    type: int
    kind: ColumnKind | str
    is_optional: bool
    is_unsigned: bool = False


@dataclass(frozen=True)
class Chunk:
    """The pages of one column of a row group."""

    first: int
    bytes: int
    plain_bytes: int
    codec: int
    encodings: frozenset[int]

    @property
    def misfit(self) -> str:
        """Why it cannot be read; empty if it can."""
        if self.codec not in _CODECS:
            return f"is compressed by {_CODEC_NAMES.get(self.codec, self.codec)}, not snappy, gzip or zstd"
        others = sorted(self.encodings - _ENCODINGS)
        return f"is encoded as {_ENCODING_NAMES.get(others[0], others[0])}" if others else ""


@dataclass(frozen=True)
class RowGroup:
    """`rows` rows, of which each column's chunk is in `chunks`, and the number of those before it in the file."""

    rows: int
    before: int
    chunks: dict[str, Chunk]


@dataclass(frozen=True)
class ParquetFile:
    """The columns in their order, and the row groups in theirs."""

    columns: dict[str, ParquetColumn]
    groups: list[RowGroup]

    @property
    def rows(self) -> int:
        return sum(group.rows for group in self.groups)


def read_footer(file: ObjectRef, data: RangeReader) -> ParquetFile:
    """The footer of a file, in one or two reads. Raises MalformedDataError, and as `get_range` does."""
    place = data.uri(file.key)
    count = min(_TAIL_BYTES, file.bytes)
    pinned = {"etag": file.etag, "version": file.version_or_none}
    tail = data.get_range(file.key, file.bytes - count, count, **pinned)
    if len(tail) < 12 or not tail.endswith(_MAGIC):
        what = "is encrypted" if tail.endswith(b"PARE") else "is no Parquet file: it does not end with PAR1"
        raise MalformedDataError(what, place=place, hint="was it cut off, or is it of another data.format?")
    size = int.from_bytes(tail[-8:-4], "little")
    if size > min(file.bytes - 12, MAX_FOOTER_BYTES):
        raise MalformedDataError(f"claims a footer of {size} bytes", place=place, hint="copy the file again")
    if size + 8 > len(tail):
        tail = data.get_range(file.key, file.bytes - size - 8, size + 8, **pinned)
    try:
        fields, _ = read_struct(tail, len(tail) - size - 8)
        return _file(fields, file.bytes)
    except (ThriftError, LookupError, TypeError, ValueError, AttributeError) as fault:
        raise MalformedDataError(
            f"has a footer that cannot be read: {fault}", place=place, hint="copy the file again"
        ) from fault


def _file(fields: dict[int, Any], size: int) -> ParquetFile:
    columns = {column.name: column for column in _columns(fields[2])}
    groups, before = [], 0
    for group in fields[4]:
        chunks = {}
        for one in group[1]:
            meta = one[3]
            first = min(meta[9], meta.get(11) or meta[9])
            if 1 in one or not 0 <= first <= first + meta[7] <= size or meta[6] < 0:
                raise ValueError("a column lies outside of the file")
            name = b".".join(meta[3]).decode()
            chunks[name] = Chunk(first, meta[7], meta[6], meta[4], frozenset(meta[2]))
        groups.append(RowGroup(group[3], before, chunks))
        before += group[3]
    if any(one.rows < 0 for one in groups):
        raise ValueError("a row group has less than no rows")
    return ParquetFile(columns, groups)


def _columns(elements: list[dict[int, Any]]) -> Iterator[ParquetColumn]:
    """The columns below the root; one that has columns of its own is nested, and these are passed over."""
    position = 1
    for _ in range(elements[0][5]):
        element = elements[position]
        name, repetition = element[4].decode(), element.get(3, _REQUIRED)
        children, position = element.get(5, 0), position + 1
        while children:
            children += elements[position].get(5, 0) - 1
            position += 1
        if element.get(5) or repetition not in (_REQUIRED, _OPTIONAL):
            yield ParquetColumn(name, -1, "is nested", is_optional=True)
            continue
        logical: tuple[int, dict[int, Any]] = next(iter(element.get(10, {}).items()), (0, {}))
        converted = element.get(6, -1)
        unsigned = converted in _UNSIGNED or (logical[0] == _INTEGER and not logical[1].get(2, True))
        yield ParquetColumn(
            name, element[1], _kind(element[1], logical[0], converted), repetition == _OPTIONAL, unsigned
        )


def _kind(stored: int, logical: int, converted: int) -> ColumnKind | str:
    what = _LOGICAL.get(logical) or _CONVERTED.get(converted)
    if what:
        return f"has {what}, neither numbers nor texts"
    if stored == BYTE_ARRAY:
        return "category"
    if stored in (INT96, FIXED):
        return f"has {'times' if stored == INT96 else 'bytes'}, neither numbers nor texts"
    return "number"


def row_group_runs(sizes: list[int], most: int) -> Iterator[tuple[int, int]]:
    """(first, count) of runs of row groups of about `most` bytes each, one group at least."""
    firsts, size = [0], 0
    for number, one in enumerate(sizes):
        if size and size + one > most:
            firsts.append(number)
            size = 0
        size += one
    for first, end in pairwise([*firsts, len(sizes)]):
        if end > first:
            yield first, end - first

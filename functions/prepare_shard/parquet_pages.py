"""The pages of a column chunk of Parquet as one array of values, without a library of its own for the whole format.

PLAIN, dictionaries and BYTE_STREAM_SPLIT are what writers choose by themselves; the rest is refused when a run is
planned (`lehr.parquet_footer`). Formats: https://parquet.apache.org/docs/file-format/data-pages/encodings
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cramjam
import numpy as np

from lehr.errors import MalformedDataError
from lehr.parquet_footer import (
    BOOLEAN,
    BYTE_ARRAY,
    BYTE_STREAM_SPLIT,
    DOUBLE,
    FLOAT,
    GZIP,
    INT32,
    INT64,
    PLAIN,
    RLE,
    SNAPPY,
    UNCOMPRESSED,
    Chunk,
    ParquetColumn,
)
from lehr.thrift_compact import ThriftError, read_struct

_DATA, _INDEX, _DICTIONARY, _DATA_V2 = range(4)
_DTYPES = {INT32: "<i4", INT64: "<i8", FLOAT: "<f4", DOUBLE: "<f8"}


@dataclass(frozen=True)
class Values:
    """A column of `is_given`, boolean [rows], and of those that are: an array of numbers, or texts by `codes`."""

    is_given: np.ndarray
    numbers: np.ndarray
    codes: np.ndarray
    texts: list[bytes]


def read_chunk(raw: bytes, chunk: Chunk, column: ParquetColumn, rows: int, *, place: str) -> Values:
    """The values of a chunk. Raises MalformedDataError naming `place` and the column for pages that are damaged."""
    try:
        values = _Pages(raw, chunk, column).values(rows)
    except (ThriftError, ValueError, LookupError, TypeError, OverflowError, zlib.error) as fault:
        problem = str(fault)
    except cramjam.DecompressionError as fault:
        problem = str(fault)
    else:
        return values
    raise MalformedDataError(
        f"has a column {column.name} that cannot be read: {problem}", place=place, hint="copy the file again"
    )


class _Pages:
    def __init__(self, raw: bytes, chunk: Chunk, column: ParquetColumn) -> None:
        self._raw, self._chunk, self._column = raw, chunk, column
        self._dictionary: np.ndarray | None = None
        self._texts: dict[bytes, int] = {}

    def values(self, rows: int) -> Values:
        given, parts = [], []
        left = rows
        for header, body in (
            self._bodies() if rows else ()
        ):  # a chunk without rows may name no page that is there
            if header[1] == _DICTIONARY:
                inflated = self._inflated(body, header[2])
                self._dictionary = self._plain(inflated, header[7][1])
                continue
            if header[1] == _INDEX:
                continue
            is_given, encoding, values = self._data_page(header, body, left)
            left -= len(is_given)
            given.append(is_given)
            parts.append(self._decoded(values, encoding, int(is_given.sum())))
        if left:
            raise ValueError(f"{rows - left} values of {rows}")
        is_given = np.concatenate([np.empty(0, bool), *given])
        together = np.concatenate(parts) if parts else np.empty(0, np.int64)
        nothing = np.empty(0, np.int64)
        if self._column.type == BYTE_ARRAY:
            return Values(is_given, nothing, together.astype(np.int64), list(self._texts))
        if self._column.is_unsigned:
            together = together.view(np.dtype(f"u{together.dtype.itemsize}"))
        return Values(is_given, together, nothing, [])

    def _bodies(self) -> Iterator[tuple[dict[int, Any], bytes]]:
        position = 0
        while position < len(self._raw):
            header, position = read_struct(self._raw, position)
            size = header[3]
            if not 0 <= size <= len(self._raw) - position or not 0 <= header[2] <= self._chunk.plain_bytes:
                raise ValueError("a page lies outside of its column")
            yield header, self._raw[position : position + size]
            position += size

    def _data_page(self, header: dict[int, Any], body: bytes, left: int) -> tuple[np.ndarray, int, bytes]:
        """Which rows have a value, how the values are encoded, and they."""
        if header[1] == _DATA:
            page = header[5]
            body = self._inflated(body, header[2])
            count, encoding = page[1], page[2]
            if not 0 <= count <= left:
                raise ValueError("more values than rows")
            is_given = np.ones(count, dtype=bool)
            if self._column.is_optional:
                size = int.from_bytes(body[:4], "little")
                is_given = hybrid(body[4 : 4 + size], 1, count).astype(bool)
                body = body[4 + size :]
            return is_given, encoding, body
        if header[1] != _DATA_V2:
            raise ValueError(f"a page of kind {header[1]}")
        page = header[8]
        count, encoding, levels, repetitions = page[1], page[4], page[5], page[6]
        if not 0 <= count <= left or min(levels, repetitions) < 0:
            raise ValueError("more values than rows")
        before = repetitions + levels
        is_given = np.ones(count, dtype=bool)
        if self._column.is_optional and levels:
            is_given = hybrid(body[repetitions:before], 1, count).astype(bool)
        values = body[before:]
        if page.get(7, True):
            values = self._inflated(values, header[2] - before)
        return is_given, encoding, values

    def _inflated(self, body: bytes, size: int) -> bytes:
        codec = self._chunk.codec
        if codec == UNCOMPRESSED:
            return body
        if size <= 0:
            return b""
        if codec == GZIP:
            inflated = zlib.decompressobj(wbits=47).decompress(body, size)
        else:
            target = bytearray(size)
            into = cramjam.snappy.decompress_raw_into if codec == SNAPPY else cramjam.zstd.decompress_into
            inflated = bytes(target[: into(body, target)])
        if len(inflated) != size:
            raise ValueError(f"a page of {len(inflated)} bytes, not {size}")
        return inflated

    def _decoded(self, body: bytes, encoding: int, count: int) -> np.ndarray:
        """Numbers, or codes of texts."""
        if encoding == PLAIN:
            return self._plain(body, count)
        if encoding == BYTE_STREAM_SPLIT:
            dtype = np.dtype(_DTYPES[self._column.type])
            planes = np.frombuffer(body, np.uint8, count * dtype.itemsize).reshape(dtype.itemsize, count)
            values: np.ndarray = np.ascontiguousarray(planes.T).view(dtype)
            return values[:, 0]
        if encoding == RLE and self._column.type == BOOLEAN:
            return hybrid(body[4:], 1, count)
        if self._dictionary is None:
            raise ValueError("codes without a dictionary")
        if not count:
            return self._dictionary[:0]
        taken: np.ndarray = self._dictionary[hybrid(body[1:], body[0], count)]
        return taken

    def _plain(self, body: bytes, count: int) -> np.ndarray:
        if self._column.type == BOOLEAN:
            return np.unpackbits(np.frombuffer(body, np.uint8), bitorder="little", count=count)
        if self._column.type != BYTE_ARRAY:
            return np.frombuffer(body, _DTYPES[self._column.type], count)
        codes = np.empty(count, dtype=np.int64)
        texts, position = self._texts, 0
        for place in range(count):
            end = position + 4 + int.from_bytes(body[position : position + 4], "little")
            if end > len(body):
                raise ValueError("a text breaks off")
            text = body[position + 4 : end]
            codes[place] = texts.setdefault(text, len(texts))
            position = end
        return codes


def hybrid(raw: bytes, width: int, count: int) -> np.ndarray:
    """`count` integers of `width` bits, in runs of one value and runs of packed ones: int64 [count].

    Raises ValueError where they break off.
    """
    if not 0 <= width <= 32:
        raise ValueError(f"integers of {width} bits")
    target = np.zeros(count, dtype=np.int64)
    position = filled = 0
    bytes_of_value = -(-width // 8)
    powers = 1 << np.arange(width, dtype=np.int64)
    while filled < count:
        head = shift = 0
        while True:
            if position >= len(raw):
                raise ValueError(f"{filled} integers of {count}")
            byte = raw[position]
            position += 1
            head |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        length = head >> 1
        if head & 1:
            size = length * width
            packed = np.frombuffer(raw[position : position + size], np.uint8)
            taken = min(length * 8, count - filled)
            if len(packed) * 8 < taken * width:
                raise ValueError("a run breaks off")
            bits = np.unpackbits(packed, bitorder="little", count=taken * width).reshape(taken, width)
            target[filled : filled + taken] = bits @ powers
            position += size
        else:
            taken = min(length, count - filled)
            if not taken:
                raise ValueError("a run of nothing")
            target[filled : filled + taken] = int.from_bytes(
                raw[position : position + bytes_of_value], "little"
            )
            position += bytes_of_value
        filled += taken
    return target

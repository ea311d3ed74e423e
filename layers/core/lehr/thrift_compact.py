"""Thrift's compact protocol, as far as Parquet's metadata needs it: structs as dicts of values by the fields' numbers.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

import struct
from typing import Any

_DOUBLE = struct.Struct("<d")
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _FLOAT64, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_MAX_DEPTH = 32


class ThriftError(ValueError):
    """Raised for bytes that are no struct of this protocol."""


def read_struct(raw: bytes, position: int = 0) -> tuple[dict[int, Any], int]:
    """The struct that begins at `position`, and the byte behind it. Raises ThriftError."""
    reader = _Reader(raw, position)
    try:
        return reader.struct(0), reader.position
    except (IndexError, struct.error) as fault:
        raise ThriftError("breaks off") from fault


class _Reader:
    def __init__(self, raw: bytes, position: int) -> None:
        self.raw, self.position = raw, position

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > _MAX_DEPTH:
            raise ThriftError("is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while True:
            head = self._byte()
            if head == 0:
                return fields
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self._zigzag()
            # A field that is true or false is its own kind.
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_I16, _I32, _I64):
            return self._zigzag()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind in (_LIST, _SET):
            head = self._byte()
            count, kind = head >> 4, head & 15
            count = self._varint() if count == 15 else count
            if count > len(self.raw) - self.position:
                raise ThriftError("has a list that is longer than its bytes")
            return [self._item(kind, depth) for _ in range(count)]
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind == _FLOAT64:
            return _DOUBLE.unpack(self._bytes(8))[0]
        raise ThriftError(f"has a value of kind {kind}")

    def _item(self, kind: int, depth: int) -> Any:
        """Of a list: there a value that is true or false has a byte of its own."""
        return self._byte() == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth + 1)

    def _byte(self) -> int:
        value = self.raw[self.position]
        self.position += 1
        return value

    def _bytes(self, count: int) -> bytes:
        first = self.position
        if count > len(self.raw) - first:
            raise ThriftError("breaks off")
        self.position += count
        return self.raw[first : self.position]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ThriftError("has a number of more than 64 bits")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

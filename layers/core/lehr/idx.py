"""The IDX format's header (http://yann.lecun.com/exdb/mnist/, "the IDX file format"), gzipped or not.

Only the header: planning needs counts and shapes, and this layer has no numpy.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from math import prod

from lehr.errors import MalformedDataError

UNSIGNED_BYTE = 0x08
HEADER_BYTES = 4096
_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_GZIP_HINT = "the file must be an IDX file of unsigned bytes, gzipped or plain"


@dataclass(frozen=True)
class IdxHeader:
    """Dimensions of an IDX file of unsigned bytes; `offset` is where the data begins."""

    shape: tuple[int, ...]
    offset: int

    @property
    def data_bytes(self) -> int:
        return prod(self.shape)


def is_gzipped(start: bytes) -> bool:
    return start[:2] == b"\x1f\x8b"


def parse_header(start: bytes, *, place: str) -> IdxHeader:
    """Read the header from the first bytes of a file. Raises MalformedDataError naming `place`."""
    if is_gzipped(start):
        try:
            start = zlib.decompressobj(wbits=31).decompress(start, 1024)
        except zlib.error as fault:
            raise MalformedDataError(f"is not a gzip file: {fault}", place=place, hint=_GZIP_HINT) from fault
    if len(start) < 4:
        raise MalformedDataError(
            f"ends after {len(start)} bytes, before its header", place=place, hint=_GZIP_HINT
        )
    zero, kind, dimensions = struct.unpack(">HBB", start[:4])
    if zero != 0 or kind not in _TYPES or not 1 <= dimensions <= 4:
        raise MalformedDataError(
            f"begins with {start[:4].hex()}, which is no IDX header", place=place, hint=_GZIP_HINT
        )
    if kind != UNSIGNED_BYTE:
        raise MalformedDataError(f"holds {_TYPES[kind]} values", place=place, hint=_GZIP_HINT)
    offset = 4 + 4 * dimensions
    if len(start) < offset:
        raise MalformedDataError(
            f"ends after {len(start)} bytes, within its header", place=place, hint=_GZIP_HINT
        )
    shape = struct.unpack(f">{dimensions}I", start[4:offset])
    if prod(shape) > 1 << 40:
        raise MalformedDataError(f"claims a shape of {shape}", place=place, hint=_GZIP_HINT)
    return IdxHeader(shape=shape, offset=offset)

"""Shards: the safetensors format in numpy alone, so that no function carries another dependency.

The format (https://huggingface.co/docs/safetensors, "Format") is eight bytes of little-endian header
length, a JSON header, and the tensors' bytes without gaps. Data begins at a multiple of 64 here, so that
a memory-mapped view is aligned; equal tensors always give equal bytes.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from lehr.errors import MalformedDataError

ALIGNMENT = 64
MAX_HEADER_BYTES = 1 << 20
_METADATA = "__metadata__"
_DTYPES = {
    "BOOL": "|b1",
    "U8": "|u1",
    "I8": "|i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}
_Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: Annotated[list[_Size], msgspec.Meta(max_length=16)]
    data_offsets: tuple[_Size, _Size]


def write_shard(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> bytes:
    """Encode tensors of any shape and of a boolean, integer or float type.

    Wider types come first, then names in order: every tensor is naturally aligned without gaps, which
    the format forbids. Raises TypeError for a type that the format lacks.
    """
    arrays = {name: _portable(name, array) for name, array in tensors.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for name in order:
        begin, end = end, end + arrays[name].nbytes
        header[name] = {
            "dtype": _NAMES[arrays[name].dtype],
            "shape": list(arrays[name].shape),
            "data_offsets": [begin, end],
        }
    text = msgspec.json.encode(header)
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    data: list[bytes | memoryview] = [arrays[name].reshape(-1).view(np.uint8).data for name in order]
    return b"".join([struct.pack("<Q", len(text)), text, *data])


def read_shard(raw: bytes, *, place: str = "shard") -> dict[str, np.ndarray]:
    """Read-only views into `raw`. Raises MalformedDataError naming `place`."""
    return _views(raw, place)


def open_shard(path: Path | str) -> dict[str, np.ndarray]:
    """Read-only views into the memory-mapped file: bytes are read when touched.

    Raises MalformedDataError naming the file, FileNotFoundError if there is none.
    """
    with open(path, "rb") as file:
        try:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as fault:
            raise MalformedDataError("is empty", place=str(path)) from fault
    return _views(mapped, str(path))


def _portable(name: str, array: np.ndarray) -> np.ndarray:
    """C order and little-endian; unlike np.ascontiguousarray this keeps a scalar's empty shape."""
    if name == _METADATA:
        raise ValueError(f"a tensor cannot be called {_METADATA}")
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _NAMES:
        raise TypeError(f"tensor {name!r}: safetensors has no type for numpy's {array.dtype}")
    return np.asarray(array, dtype=dtype, order="C")


def _views(buffer: bytes | mmap.mmap, place: str) -> dict[str, np.ndarray]:
    """The header is untrusted: nothing is sized by it before it agrees with the bytes that are there."""
    start, header = _read_header(buffer, place)
    size = len(buffer) - start
    views = {}
    position = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1].data_offsets):
        begin, end = entry.data_offsets
        code = _DTYPES.get(entry.dtype)
        if code is None:
            raise MalformedDataError(
                f"tensor {name!r} has a type that is none of {', '.join(_DTYPES)}", place=place
            )
        dtype = np.dtype(code)
        expected = prod(entry.shape) * dtype.itemsize
        if begin != position or end < begin:
            raise MalformedDataError(
                f"tensor {name!r} spans bytes {begin} to {end}, where byte {position} comes next", place=place
            )
        if end - begin != expected:
            raise MalformedDataError(
                f"tensor {name!r} spans {end - begin} bytes, its shape {entry.shape} needs {expected}",
                place=place,
            )
        if end > size:
            raise MalformedDataError(
                f"tensor {name!r} ends at byte {end} of {size}: the file is truncated", place=place
            )
        flat = np.frombuffer(buffer, dtype=dtype, count=expected // dtype.itemsize, offset=start + begin)
        try:
            views[name] = flat.reshape(entry.shape)
        except ValueError as fault:
            raise MalformedDataError(
                f"tensor {name!r} has an impossible shape {entry.shape}", place=place
            ) from fault
        position = end
    if position != size:
        raise MalformedDataError(f"has {size - position} bytes after its last tensor", place=place)
    return views


def _read_header(buffer: bytes | mmap.mmap, place: str) -> tuple[int, dict[str, _Entry]]:
    """Where the data starts, and the entries by name."""
    if len(buffer) < 8:
        raise MalformedDataError(f"ends after {len(buffer)} bytes, before its header", place=place)
    (length,) = struct.unpack("<Q", buffer[:8])
    if length > MAX_HEADER_BYTES:
        raise MalformedDataError(
            f"claims a header of {length} bytes, more than {MAX_HEADER_BYTES}", place=place
        )
    if 8 + length > len(buffer):
        raise MalformedDataError(
            f"ends after {len(buffer)} bytes, within its header of {length}", place=place
        )
    try:
        raw = msgspec.json.decode(buffer[8 : 8 + length], type=dict[str, msgspec.Raw])
        if _METADATA in raw:
            msgspec.json.decode(raw.pop(_METADATA), type=dict[str, str])
        header = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise MalformedDataError(f"has no safetensors header: {fault}", place=place) from fault
    return 8 + length, header

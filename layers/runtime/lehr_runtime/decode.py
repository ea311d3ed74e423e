"""Raw files to arrays: the one implementation that preparation, evaluation and serving share."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

import numpy as np

from lehr.errors import MalformedDataError
from lehr.idx import IdxHeader, is_gzipped, parse_header

MAX_BYTES = 2 << 30
# "The asymptotic maximum compression ratio of deflate is 1032:1", https://www.zlib.net/zlib_tech.html
_DEFLATE_RATIO = 1032
_CHUNK_BYTES = 1 << 20


def decode_idx(raw: bytes, *, place: str, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Decode an IDX file of unsigned bytes, gzipped or plain, to a read-only uint8 array of its shape.

    A plain file is not copied. Raises MalformedDataError naming `place` for a file that is truncated,
    longer than its header says, damaged, or of more than `max_bytes` (decompressed).
    """
    header = parse_header(raw[:_CHUNK_BYTES], place=place)
    if header.data_bytes > max_bytes:
        raise MalformedDataError(
            f"holds {header.data_bytes} bytes, more than the {max_bytes} that fit",
            place=place,
            hint="cut the file into smaller ones",
        )
    if is_gzipped(raw):
        flat = _decompress(raw, header, place)
    else:
        _check_length(len(raw) - header.offset, header, place)
        flat = np.frombuffer(raw, dtype=np.uint8, offset=header.offset)
    return flat.reshape(header.shape)


def decode_text(raw: bytes, *, place: str, max_bytes: int = MAX_BYTES) -> str:
    """The text of a file in UTF-8, gzipped or plain. Raises MalformedDataError as `decode_idx` does."""
    raw = inflate_text(raw, place=place, max_bytes=max_bytes)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = raw.count(b"\n", 0, fault.start) + 1
        raise MalformedDataError(
            f"is not UTF-8 in line {line}", place=place, hint="save it as UTF-8, gzipped or plain"
        ) from fault


def inflate_text(raw: bytes, *, place: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a text, gzipped or plain. Raises MalformedDataError as `decode_idx` does."""
    if is_gzipped(raw):
        raw = inflate(raw, place=place, max_bytes=max_bytes)
    if len(raw) > max_bytes:
        raise _too_large(max_bytes, place)
    return raw


def inflate(raw: bytes, *, place: str, max_bytes: int) -> bytes:
    """What is gzipped in `raw`. Raises MalformedDataError as `decode_idx` does."""
    target = io.BytesIO()  # which, unlike a list of blocks, is there once
    for block in _inflated(raw, max_bytes + 1, place):
        target.write(block)
    if target.tell() > max_bytes:
        raise _too_large(max_bytes, place)
    return target.getvalue()


def _too_large(max_bytes: int, place: str) -> MalformedDataError:
    return MalformedDataError(
        f"holds more than the {max_bytes} bytes that fit",
        place=place,
        hint="cut the file into smaller ones",
    )


def _decompress(raw: bytes, header: IdxHeader, place: str) -> np.ndarray:
    """Inflate into one array of the size that the header gives, and never further: bombs stop there.

    The array is only allocated when that many bytes can come out of so many compressed ones at all.
    """
    expected = header.offset + header.data_bytes
    if expected > len(raw) * _DEFLATE_RATIO + _CHUNK_BYTES:
        raise MalformedDataError(
            f"claims a shape of {header.shape}, which {len(raw)} compressed bytes cannot hold", place=place
        )
    target = np.empty(expected, dtype=np.uint8)
    filled = 0
    for block in _inflated(raw, expected + 1, place):
        if filled + len(block) > expected:
            _check_length(filled + len(block) - header.offset, header, place, open_ended=True)
        target[filled : filled + len(block)] = np.frombuffer(block, dtype=np.uint8)
        filled += len(block)
    _check_length(filled - header.offset, header, place)
    target.flags.writeable = False
    return target[header.offset :]


def _inflated(raw: bytes, limit: int, place: str) -> Iterator[bytes]:
    """Blocks of the decompressed stream, `limit` bytes at most; members follow one another (RFC 1952, 2.2).

    Input goes in by slices, since zlib copies whatever it has not consumed yet.
    """
    inflater = zlib.decompressobj(wbits=31)
    rest, position, produced = b"", 0, 0
    while produced < limit:
        if len(rest) < 2 and position < len(raw):
            rest, position = rest + raw[position : position + _CHUNK_BYTES], position + _CHUNK_BYTES
        if inflater.eof:
            if not rest:
                return
            if not is_gzipped(rest):
                trailing = len(rest) + max(0, len(raw) - position)
                raise MalformedDataError(f"has {trailing} bytes after its gzip stream", place=place)
            inflater = zlib.decompressobj(wbits=31)
        try:
            block = inflater.decompress(rest, min(_CHUNK_BYTES, limit - produced))
        except zlib.error as fault:
            raise MalformedDataError(
                f"is damaged after {produced} decompressed bytes: {fault}",
                place=place,
                hint="copy the file again",
            ) from fault
        if not block and not rest and not inflater.eof:
            raise MalformedDataError(
                f"is truncated: its gzip stream breaks off after {produced} decompressed bytes",
                place=place,
                hint="copy the file again",
            )
        rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        produced += len(block)
        yield block


def _check_length(found: int, header: IdxHeader, place: str, *, open_ended: bool = False) -> None:
    if found != header.data_bytes:
        raise MalformedDataError(
            f"holds {found}{' or more' if open_ended else ''} bytes of data, "
            f"its shape {header.shape} needs {header.data_bytes}",
            place=place,
        )

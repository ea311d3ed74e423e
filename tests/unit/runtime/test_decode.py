"""IDX files: what is not exactly what its header says is refused, with the numbers, and within bounds."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lehr.errors import MalformedDataError
from lehr_runtime.decode import decode_idx

PLACE = "incoming/mnist/train-images"


def idx(array: np.ndarray, *, kind: int = 0x08, shape: tuple[int, ...] | None = None) -> bytes:
    shape = array.shape if shape is None else shape
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + array.tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
PLAIN = idx(IMAGES)
PACKED = gzip.compress(PLAIN)


@settings(deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)))
def test_every_array_comes_back_plain_and_gzipped(array: np.ndarray) -> None:
    for raw in (idx(array), gzip.compress(idx(array))):
        decoded = decode_idx(raw, place=PLACE)
        assert decoded.dtype == np.uint8
        assert np.array_equal(decoded, array)
        assert not decoded.flags.writeable


def test_a_gzip_file_of_several_members_is_one_file() -> None:
    cuts = [0, 100, 101, 5000, len(PLAIN)]
    raw = b"".join(gzip.compress(PLAIN[a:b]) for a, b in itertools.pairwise(cuts))
    assert np.array_equal(decode_idx(raw + gzip.compress(b""), place=PLACE), IMAGES)


def test_a_file_of_many_blocks_is_decoded_whole() -> None:
    array = np.random.default_rng(1).integers(0, 256, (5 << 20) + 7, dtype=np.uint8)
    assert np.array_equal(decode_idx(gzip.compress(idx(array), 1), place=PLACE), array)


def test_a_plain_file_is_not_copied() -> None:
    assert np.shares_memory(decode_idx(PLAIN, place=PLACE), np.frombuffer(PLAIN, np.uint8))


def _damaged(position: int) -> bytes:
    raw = bytearray(PACKED)
    raw[position] ^= 0xFF
    return bytes(raw)


def _bomb() -> bytes:
    """A header of 784 bytes of data, then 64 MB of zeros in 64 KB."""
    return gzip.compress(idx(np.zeros(0, np.uint8), shape=(1, 28, 28)) + b"\0" * (64 << 20), 9)


SIZE = IMAGES.size
MALFORMED = {
    "empty": (b"", "ends after 0 bytes"),
    "text": (b"hello, world", "no IDX header"),
    "a png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "no IDX header"),
    "floats": (idx(IMAGES, kind=0x0D), "float32"),
    "an unknown type": (idx(IMAGES, kind=0x0A), "no IDX header"),
    "no dimensions": (b"\0\0\x08\0", "no IDX header"),
    "200 dimensions": (b"\0\0\x08\xc8" + b"\0" * 800, "no IDX header"),
    "a header cut short": (PLAIN[:10], "within its header"),
    "data cut short": (PLAIN[:-1], f"{SIZE - 1} bytes of data"),
    "trailing bytes": (PLAIN + b"x", f"{SIZE + 1} bytes of data"),
    "a shape of terabytes": (idx(IMAGES, shape=(2**32 - 1, 2**32 - 1)), "claims a shape"),
    "more than fits": (idx(IMAGES, shape=(2**22, 28, 28)), "more than"),
    "gzip cut short": (PACKED[: len(PACKED) // 2], "truncated"),
    "gzip without its checksum": (PACKED[:-8], "truncated"),
    "gzip with half a checksum": (PACKED[:-3], "truncated"),
    "gzip of a wrong checksum": (_damaged(-6), "damaged"),
    "gzip of a wrong length": (_damaged(-1), "damaged"),
    "gzip with a flipped byte": (_damaged(len(PACKED) // 2), "damaged|bytes of data"),
    "gzip magic and nothing else": (b"\x1f\x8b", "ends after 0 bytes|gzip"),
    "gzip magic, then junk": (b"\x1f\x8b" + b"junk" * 10, "gzip"),
    "gzip of data cut short": (gzip.compress(PLAIN[:-5]), f"{SIZE - 5} bytes of data"),
    "gzip of trailing bytes": (gzip.compress(PLAIN + b"x"), "or more bytes of data"),
    "junk after gzip": (PACKED + b"junk", "4 bytes after its gzip stream"),
    "zeros after gzip": (PACKED + b"\0" * 512, "512 bytes after"),
    "one byte after gzip": (PACKED + b"\x1f", "1 bytes after"),
    "a claim that cannot be compressed so far": (
        gzip.compress(idx(np.zeros(9, np.uint8), shape=(2_000_000, 28, 28))),
        "compressed bytes cannot hold",
    ),
}


@pytest.mark.parametrize(("raw", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_refused_with_its_place_and_numbers(raw: bytes, message: str) -> None:
    with pytest.raises(MalformedDataError, match=message) as caught:
        decode_idx(raw, place=PLACE)
    assert caught.value.place == PLACE


def test_a_gzip_bomb_stops_at_the_size_that_its_header_gives() -> None:
    raw = _bomb()
    tracemalloc.start()
    try:
        with pytest.raises(MalformedDataError, match="or more bytes of data"):
            decode_idx(raw, place=PLACE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_every_cut_of_a_file_is_refused() -> None:
    small = idx(IMAGES[:2])
    for raw in (small, gzip.compress(small)):
        for length in range(len(raw)):
            with pytest.raises(MalformedDataError):
                decode_idx(raw[:length], place=PLACE)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x1f\x8b\x08", b"\0\0\x08\x01\0\0"]))
def test_arbitrary_bytes_raise_nothing_else(raw: bytes, start: bytes) -> None:
    with contextlib.suppress(MalformedDataError):
        decode_idx(start + raw, place=PLACE)

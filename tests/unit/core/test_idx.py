"""The IDX header: right numbers, or the reason."""

from __future__ import annotations

import gzip
import struct

import pytest

from lehr.errors import MalformedDataError
from lehr.idx import parse_header

IMAGES = struct.pack(">HBBIII", 0, 8, 3, 60_000, 28, 28)


def test_a_header_is_read_plain_and_gzipped() -> None:
    for start in (IMAGES, gzip.compress(IMAGES + bytes(1000)), gzip.compress(IMAGES + bytes(10_000))[:40]):
        header = parse_header(start, place="f")
        assert (header.shape, header.offset, header.data_bytes) == ((60_000, 28, 28), 16, 47_040_000)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"", "ends after 0 bytes"),
        (b"\x00\x00", "ends after 2 bytes"),
        (IMAGES[:10], "within its header"),
        (b"\x89PNG\r\n\x1a\n", "no IDX header"),
        (struct.pack(">HBBI", 0, 0x0D, 1, 5), "float32"),
        (struct.pack(">HBBI", 0, 8, 0, 5), "no IDX header"),
        (b"\x1f\x8b" + bytes(20), "not a gzip file"),
        (struct.pack(">HBBIII", 0, 8, 3, 2**32 - 1, 2**31, 2**31), "claims a shape"),
    ],
)
def test_what_is_no_header_is_named_with_its_place(start: bytes, words: str) -> None:
    with pytest.raises(MalformedDataError) as caught:
        parse_header(start, place="s3://data/incoming/mnist/images.gz")
    assert words in str(caught.value)
    assert str(caught.value).startswith("s3://data/incoming/mnist/images.gz: ")

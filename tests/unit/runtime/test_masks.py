"""Mask files: what counts as a label, and what is refused."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lehr.errors import DataError, MismatchedDataError
from lehr.mask_palette import colour
from lehr_runtime.images import oriented_size
from lehr_runtime.masks import decode_mask, encode_image, encode_mask

VALUES = np.arange(12, dtype=np.uint8).reshape(3, 4) % 5


def saved(image: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def decoded(raw: bytes, size: tuple[int, int] = (3, 4), **changes: Any) -> np.ndarray:
    options: dict[str, Any] = {
        "of_size": (3, 4),
        "labels": 5,
        "ignore_value": None,
        "place": "m.png",
    } | changes
    return decode_mask(raw, size, **options)


def palette(values: np.ndarray) -> Any:
    image = Image.fromarray(values).convert("L")
    image.putpalette([value for number in range(256) for value in (255 - number, number, 7)])
    return image


@pytest.mark.parametrize(
    "raw",
    [
        saved(Image.fromarray(VALUES)),
        saved(palette(VALUES)),
        saved(palette(VALUES), bits=4),
        saved(Image.fromarray(VALUES.astype(np.uint16))),
    ],
    ids=["grey", "palette", "palette of 4 bits", "grey of 16 bits"],
)
def test_a_mask_is_its_numbers_whatever_its_colours_are(raw: bytes) -> None:
    np.testing.assert_array_equal(decoded(raw), VALUES)


def _grey_of(bits: int, values: np.ndarray) -> bytes:
    """A grey PNG of few bits a pixel, which Pillow reads and does not write."""
    import struct
    import zlib

    height, width = values.shape
    lines = b""
    for row in values.tolist():
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        lines += b"\x00" + int(text, 2).to_bytes(len(text) // 8, "big")

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_counts_from_zero(bits: int) -> None:
    values = (VALUES % 2**bits).astype(np.uint8)
    np.testing.assert_array_equal(decoded(_grey_of(bits, values)), values)


def test_pixels_of_the_ignored_value_count_nowhere() -> None:
    values = np.where(VALUES == 4, 200, VALUES).astype(np.uint8)
    found = decoded(saved(Image.fromarray(values)), labels=4, ignore_value=200)
    np.testing.assert_array_equal(found, np.where(VALUES == 4, 255, VALUES))


def test_another_size_is_reached_without_new_labels() -> None:
    values = np.kron(np.array([[0, 4], [2, 1]], np.uint8), np.ones((10, 10), np.uint8))
    found = decoded(saved(Image.fromarray(values)), (6, 6), of_size=(20, 20))
    np.testing.assert_array_equal(found, np.kron(np.array([[0, 4], [2, 1]]), np.ones((3, 3), np.uint8)))


def test_a_turned_mask_lies_as_its_turned_image_does() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = saved(Image.fromarray(VALUES), exif=exif)
    assert oriented_size(raw, place="m.png") == (4, 3)
    np.testing.assert_array_equal(decoded(raw, (4, 3), of_size=(4, 3)), np.rot90(VALUES, -1))


@pytest.mark.parametrize(
    ("raw", "changes", "words"),
    [
        (
            saved(Image.fromarray(VALUES)),
            {"labels": 4},
            r"value 4 in row 1, column 0; .*4 labels, 0 to 3 \(2",
        ),
        (saved(Image.fromarray(VALUES)), {"of_size": (4, 3)}, "is 3x4, its image 4x3"),
        (saved(Image.fromarray(np.zeros((3, 4, 3), np.uint8))), {}, "mode RGB"),
        (saved(Image.fromarray(np.zeros((3, 4, 2), np.uint8), "LA")), {}, "mode LA"),
        (saved(Image.fromarray(VALUES))[:45], {}, "damaged or truncated"),
        (b"\xff\xd8\xff and more", {}, "no PNG file"),
    ],
    ids=["a value too many", "another size", "colours", "transparency", "truncated", "a JPEG"],
)
def test_what_is_no_mask_is_refused_with_its_place(raw: bytes, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=f"m.png: .*{words}"):
        decoded(raw, **changes)


def test_a_mask_is_written_with_the_colours_of_its_labels() -> None:
    raw = encode_mask(VALUES)
    image = Image.open(io.BytesIO(raw))
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), VALUES)
    assert image.convert("RGB").getpixel((1, 0)) == colour(1) == (128, 0, 0)
    np.testing.assert_array_equal(decoded(raw), VALUES)


def test_no_two_labels_have_one_colour() -> None:
    assert len({colour(label) for label in range(256)}) == 256


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1), (3, 4, 3)])
def test_pixels_are_written_as_they_are(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = np.asarray(Image.open(io.BytesIO(encode_image(pixels))))
    np.testing.assert_array_equal(found, pixels.reshape(found.shape))


def test_a_mask_full_of_unknown_values_takes_few_bytes_for_each_pixel() -> None:
    stream = io.BytesIO()
    Image.new("L", (1000, 1000), 77).save(stream, "PNG")
    tracemalloc.start()
    try:
        with pytest.raises(
            MismatchedDataError, match=r"the value 77 in row 0, column 0.*\(1000000 such pixels\)"
        ):
            decode_mask(
                stream.getvalue(), (8, 8), of_size=(1000, 1000), labels=2, ignore_value=255, place="m.png"
            )
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()

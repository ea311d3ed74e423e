"""Image files: what is decoded, into which pixels, and what is refused before a pixel is decoded."""

from __future__ import annotations

import io
import struct
import threading
import time
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lehr.errors import MalformedDataError
from lehr_runtime import images
from lehr_runtime.images import MAX_PIXELS, MAX_SCANS, count_pixels, decode_image, is_image_shape

GREY = np.random.default_rng(1).integers(0, 256, (28, 28), dtype=np.uint8)
COLOUR = np.random.default_rng(2).integers(0, 256, (28, 28, 3), dtype=np.uint8)


def encode(image: Any, kind: str = "PNG", **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a header and nothing else."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 10))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def decode(raw: bytes, shape: list[int] | None = None) -> np.ndarray:
    return decode_image(raw, shape or [28, 28], place="image")


def test_an_image_of_the_models_size_passes_as_it_is() -> None:
    assert np.array_equal(decode(encode(Image.fromarray(GREY))), GREY)
    assert np.array_equal(decode(encode(Image.fromarray(COLOUR)), [28, 28, 3]), COLOUR)
    assert np.array_equal(decode(encode(Image.fromarray(COLOUR)), [3, 28, 28]), COLOUR.transpose(2, 0, 1))
    assert np.array_equal(decode(encode(Image.fromarray(GREY)), [28, 28, 1])[..., 0], GREY)


def test_colour_becomes_grey_by_the_stated_luma() -> None:
    wanted = COLOUR @ np.array([0.299, 0.587, 0.114])
    found = decode(encode(Image.fromarray(COLOUR))).astype(float)
    assert np.abs(found - wanted).max() <= 1


def test_grey_becomes_three_equal_channels() -> None:
    assert np.array_equal(decode(encode(Image.fromarray(GREY)), [28, 28, 3]), np.stack([GREY] * 3, axis=-1))


def test_sixteen_bits_keep_their_upper_byte() -> None:
    wide = Image.fromarray(GREY.astype(np.uint16) * 256 + 77)
    assert np.array_equal(decode(encode(wide)), GREY)


def test_transparent_pixels_lie_over_white() -> None:
    alpha = np.full((28, 28), 255, np.uint8)
    alpha[:14] = 0
    for image in (
        Image.fromarray(np.dstack([GREY, GREY, GREY, alpha])),
        Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)]),
    ):
        found = decode(encode(image))
        assert (found[:14] == 255).all()
        assert np.abs(found[14:].astype(int) - GREY[14:]).max() <= 1


def test_a_palette_with_a_transparent_colour_lies_over_white() -> None:
    image = Image.fromarray((GREY > 127).astype(np.uint8), "L").convert("P")
    image.putpalette([0, 0, 0, 90, 90, 90])
    found = decode(encode(image, transparency=0))
    assert np.array_equal(found, np.where(GREY > 127, 90, 255))


def test_the_orientation_of_a_photograph_is_applied() -> None:
    half = np.zeros((280, 280), np.uint8)
    half[:140] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter to the right for display
    found = decode(encode(Image.fromarray(half), "JPEG", exif=exif, quality=95))
    assert found[:, 20:].mean() > 250
    assert found[:, :8].mean() < 5


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [56, 280, 1000])
def test_a_larger_image_is_averaged_and_not_sampled(kind: str, size: int) -> None:
    """A checkerboard of single pixels is grey from afar; one that is sampled is black or white."""
    board = (np.indices((size, size)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = decode(encode(Image.fromarray(board), kind))
    assert np.abs(found.astype(int) - 128).max() < 20


def test_an_oblong_is_stretched_to_the_models_shape() -> None:
    stripes = np.zeros((50, 200), np.uint8)
    stripes[:, 100:] = 255
    found = decode(encode(Image.fromarray(stripes)))
    assert found[:, 0].max() == 0
    assert found[:, -1].min() == 255


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GIF89a" + bytes(50),
        b"BM" + bytes(50),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff" + bytes(20),
        encode(Image.fromarray(GREY))[:-60],
        encode(Image.fromarray(COLOUR), "JPEG")[:200],
        png_claiming(28, 28),
        png_claiming(0, 0),
        encode(Image.fromarray(GREY)).replace(b"IDAT", b"IDAX"),
    ],
    ids=[
        "nothing",
        "GIF",
        "BMP",
        "SVG",
        "start",
        "JPEG start",
        "cut PNG",
        "cut JPEG",
        "no pixels",
        "0x0",
        "no IDAT",
    ],
)
def test_what_is_no_whole_png_or_jpeg_is_refused_with_its_place(raw: bytes) -> None:
    with pytest.raises(MalformedDataError) as caught:
        decode(raw)
    assert caught.value.place == "image"


def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    for width, height in ((5001, 5000), (2**31 - 1, 2**31 - 1), (MAX_PIXELS + 1, 1)):
        with pytest.raises(MalformedDataError, match=r"pixels|damaged"):
            decode(png_claiming(width, height))


def test_the_pixels_of_a_header_are_counted_without_decoding() -> None:
    assert count_pixels(png_claiming(5000, 5000), place="image") == MAX_PIXELS


def test_a_jpeg_of_endless_scans_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    progressive = encode(Image.fromarray(COLOUR), "JPEG", progressive=True)
    scans = progressive.count(b"\xff\xda")
    assert 1 < scans < MAX_SCANS
    decode(progressive)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(MalformedDataError, match="scans"):
        decode(progressive[:-2] + scan * MAX_SCANS + progressive[-2:])


def test_a_text_chunk_that_inflates_is_refused() -> None:
    raw = encode(Image.fromarray(GREY))
    text = b"a\0\0" + zlib.compress(bytes(64 << 20))
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    with pytest.raises(MalformedDataError, match="damaged"):
        decode(raw[:33] + chunk + raw[33:])


@pytest.mark.parametrize(
    ("shape", "is_image"),
    [
        ([28, 28], True),
        ([8, 8, 3], True),
        ([1, 8, 8], True),
        ([8, 8, 4], False),
        ([784], False),
        ([1, 2, 3, 4], False),
    ],
)
def test_a_shape_says_whether_it_is_an_image(shape: list[int], is_image: bool) -> None:
    assert is_image_shape(shape) is is_image
    if not is_image:
        with pytest.raises(ValueError, match="shape"):
            decode(encode(Image.fromarray(GREY)), shape)


def test_of_large_images_one_at_a_time_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten of 25 million pixels at once would take more than the function has."""
    monkeypatch.setattr(images, "LARGE_PIXELS", 100)
    at_once, most = 0, {"small": 0, "large": 0}
    both_in = threading.Barrier(2, timeout=10)

    def decode(pixels: int, kind: str) -> None:
        nonlocal at_once
        with images.memory_for(pixels):
            at_once += 1
            most[kind] = max(most[kind], at_once)
            if kind == "small":
                both_in.wait()
            else:
                time.sleep(0.05)
            at_once -= 1

    for kind, pixels in (("small", 100), ("large", 101)):
        threads = [threading.Thread(target=decode, args=(pixels, kind)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == {"small": 2, "large": 1}

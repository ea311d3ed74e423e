"""Image files to arrays: PNG and JPEG, as the signature's shape says. Pillow is imported with the first image.

* The first bytes must be a PNG's or a JPEG's, and the header's size within MAX_PIXELS, before a pixel is decoded.
* The orientation in EXIF is applied; transparent pixels lie over white.
* One channel: ITU-R 601-2 luma, L = 0.299 R + 0.587 G + 0.114 B; 16-bit grey keeps its upper byte.
* Another size is resized to the model's, whatever its proportions, by a triangle filter whose support grows
  with the reduction (Pillow's BILINEAR, antialiased). The model's own size passes as it is.
* Nothing is inverted: a model of light digits on dark wants light ink.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lehr.errors import MalformedDataError

MAX_PIXELS = 25_000_000
# Preparation decodes ten files at once. One of 25 million pixels takes up to 500 MB on the way, ten small ones 200 MB.
LARGE_PIXELS = 1_000_000
# Each scan of a progressive JPEG goes over all pixels, and a scan may be a few bytes: encoders write about ten.
MAX_SCANS = 64
_START_OF_SCAN = b"\xff\xda"
# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size when that is still twice what the model takes.
_DRAFT_FACTOR = 2
# The tag, and its values in which width and height change places.
_ORIENTATION, _QUARTER_TURNS = 0x0112, (5, 6, 7, 8)
_JPEG = b"\xff\xd8\xff"
_FORMATS = {b"\x89PNG\r\n\x1a\n": "PNG", _JPEG: "JPEG"}
_ONE_LARGE = threading.Lock()


def is_image_shape(shape: list[int]) -> bool:
    """Whether an input of `shape`, without the batch, is an image: [h, w], [h, w, 1 or 3] or [1 or 3, h, w]."""
    return _layout(shape) is not None


def count_pixels(raw: bytes, *, place: str) -> int:
    """How many pixels the header of a PNG or JPEG file claims; none of them is decoded.

    Raises MalformedDataError naming `place` for another format, a damaged header, more than MAX_PIXELS or MAX_SCANS.
    """
    with opened_image(raw, place) as image:
        pixels: int = image.width * image.height
    if pixels > MAX_PIXELS:
        raise MalformedDataError(f"has {pixels} pixels, more than {MAX_PIXELS}", place=place)
    if raw.startswith(_JPEG) and raw.count(_START_OF_SCAN) > MAX_SCANS:
        raise MalformedDataError(f"has more than {MAX_SCANS} scans", place=place)
    return pixels


@contextmanager
def memory_for(pixels: int) -> Iterator[None]:
    """Of images that are large, one at a time is decoded in here."""
    if pixels <= LARGE_PIXELS:
        yield
        return
    with _ONE_LARGE:
        yield


def oriented_size(raw: bytes, *, place: str) -> tuple[int, int]:
    """Height and width of a PNG or JPEG file with its orientation in EXIF applied. Raises MalformedDataError."""
    with opened_image(raw, place) as image:
        width, height = image.size
        is_turned = image.getexif().get(_ORIENTATION, 1) in _QUARTER_TURNS
    return (width, height) if is_turned else (height, width)


def decode_image(raw: bytes, shape: list[int], *, place: str) -> np.ndarray:
    """A PNG or JPEG file as uint8 of `shape`.

    Raises MalformedDataError as `count_pixels` does and for a truncated file, ValueError for a shape of no image.
    """
    layout = _layout(shape)
    if layout is None:
        raise ValueError(f"{shape} is no shape of an image")
    height, width, channels, axis = layout
    with memory_for(count_pixels(raw, place=place)):
        array = np.asarray(_decode(raw, height, width, channels, place), dtype=np.uint8)
    if axis is None:
        return array
    last = array.reshape(height, width, channels)
    return last if axis == 2 else np.ascontiguousarray(last.transpose(2, 0, 1))


@contextmanager
def opened_image(raw: bytes, place: str) -> Iterator[Any]:
    """The file with its header read; what goes wrong inside becomes MalformedDataError."""
    from PIL import Image

    kind = next((name for start, name in _FORMATS.items() if raw.startswith(start)), None)
    if kind is None:
        raise MalformedDataError("is neither a PNG nor a JPEG file", place=place)
    try:
        # Pillow only warns about what MAX_PIXELS refuses a moment later.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(raw), formats=(kind,)) as image:
                yield image
    except MalformedDataError:
        raise
    except (
        Exception
    ) as fault:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise MalformedDataError(f"is a damaged or truncated {kind} file", place=place) from fault


def _layout(shape: list[int]) -> tuple[int, int, int, int | None] | None:
    """(height, width, channels, axis of the channels)."""
    if len(shape) == 2:
        return shape[0], shape[1], 1, None
    if len(shape) == 3 and shape[2] in (1, 3):
        return shape[0], shape[1], shape[2], 2
    if len(shape) == 3 and shape[0] in (1, 3):
        return shape[1], shape[2], shape[0], 0
    return None


def _decode(raw: bytes, height: int, width: int, channels: int, place: str) -> Any:
    from PIL import Image, ImageOps

    mode = "L" if channels == 1 else "RGB"
    with opened_image(raw, place) as image:
        # Does nothing to a PNG.
        # Whichever way up it is: both sides are as long as the longer one has to be.
        side = max(width, height) * _DRAFT_FACTOR
        image.draft(mode, (side, side))
        image.load()
        flat = _without_alpha(ImageOps.exif_transpose(image), mode)
        if flat.size == (width, height):
            return flat
        return flat.resize((width, height), Image.Resampling.BILINEAR)


def _without_alpha(image: Any, mode: str) -> Any:
    from PIL import Image

    if image.mode.startswith("I"):
        grey = np.asarray(image)
        image = Image.fromarray((np.clip(grey, 0, 65535).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, with_alpha).convert("RGB")
    return image if image.mode == mode else image.convert(mode)

"""Mask files to arrays and back: PNG with one number for each pixel, which is the place of its label.

* A palette's PNG counts by its indices, whatever its colours are; a grey one by its values as they stand in the file,
  of 1, 2, 4, 8 or 16 bits. Colours without a palette say no label, and are refused, as is transparency.
* The orientation in EXIF is applied, to the mask as to its image; then both have to be of one size.
* A mask is brought to the model's size by the nearest pixel: a mean of two labels would be a third.
* The pixels of `ignore_value` become IGNORED, and count nowhere.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from lehr.contracts.file_units import IGNORED
from lehr.errors import MalformedDataError, MismatchedDataError
from lehr.mask_palette import COLOURS, colour
from lehr_runtime.images import count_pixels, memory_for, opened_image

_PNG = b"\x89PNG\r\n\x1a\n"
# Pillow spreads grey of a few bits over 0 to 255.
_SPREAD = {"L;2": 85, "L;4": 17}


def decode_mask(
    raw: bytes,
    size: tuple[int, int],
    *,
    of_size: tuple[int, int],
    labels: int,
    ignore_value: int | None,
    place: str,
) -> np.ndarray:
    """A PNG file as uint8 of `size`, (height, width): labels from 0 to `labels` - 1, and IGNORED.

    `of_size` is the size of its image. Raises MalformedDataError for what is no mask, and MismatchedDataError for one
    of another size or with a pixel that no label has; both name `place`.
    """
    if not raw.startswith(_PNG):
        raise MalformedDataError("is no PNG file, which a mask has to be", place=place)
    with memory_for(count_pixels(raw, place=place)):
        values = _values(raw, place)
        if values.shape != of_size:
            raise MismatchedDataError(
                f"is {_shown(values.shape)}, its image {_shown(of_size)} (height x width)", place=place
            )
        ignored = np.zeros(values.shape, dtype=bool) if ignore_value is None else values == ignore_value
        _refuse_wrong(values, (values >= labels) & ~ignored, labels, place)
        mask = values.astype(np.uint8)
        mask[ignored] = IGNORED
        return mask if mask.shape == size else _nearest(mask, size)


def _refuse_wrong(values: np.ndarray, is_wrong: np.ndarray, labels: int, place: str) -> None:
    count = int(np.count_nonzero(is_wrong))
    if not count:
        return
    row, column = divmod(int(np.argmax(is_wrong)), is_wrong.shape[1])
    raise MismatchedDataError(
        f"has the value {int(values[row, column])} in row {row}, column {column}; data.labels names {labels} "
        f"labels, 0 to {labels - 1} ({count} such pixels)",
        place=place,
        hint="name every label in data.labels, or the value of pixels without one in data.ignore_value",
    )


def encode_mask(mask: np.ndarray) -> bytes:
    """uint8 [height, width] as a PNG with a palette: indices are labels, colours those of `mask_palette`."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(mask)).convert("L")
    image.putpalette([part for label in range(COLOURS) for part in colour(label)])
    return _png(image)


def encode_image(pixels: np.ndarray) -> bytes:
    """uint8 [height, width] or [height, width, 1 or 3] as a PNG."""
    from PIL import Image

    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    return _png(Image.fromarray(np.ascontiguousarray(flat)))


def _png(image: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=False)
    return stream.getvalue()


def _values(raw: bytes, place: str) -> np.ndarray:
    from PIL import ImageOps

    with opened_image(raw, place) as image:
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
            raise MalformedDataError(
                f"is an image of mode {image.mode}: a mask has one number for each pixel, grey or of a palette",
                place=place,
            )
        raw_mode = image.tile[0][3] if image.tile else ""
        image.load()
        values = np.asarray(ImageOps.exif_transpose(image))
    spread = _SPREAD.get(raw_mode if isinstance(raw_mode, str) else raw_mode[0], 1)
    # As the file has them: of 25 million pixels eight bytes each would be a tenth of the memory.
    return values.astype(np.uint8) if values.dtype == np.bool_ else values // spread if spread > 1 else values


def _nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    resized = Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST)
    return np.asarray(resized, dtype=np.uint8)


def _shown(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))

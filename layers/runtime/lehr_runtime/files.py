"""Files to rows: what the decoders of each kind of input have in common, in preparation and in serving."""

from __future__ import annotations

import numpy as np

from lehr.contracts.file_units import FileInput
from lehr_runtime.images import decode_image


def decode_file(raw: bytes, wanted: FileInput, *, place: str) -> np.ndarray:
    """A file as one row, of the dtype and the shape that `wanted` says. Raises MalformedDataError naming `place`."""
    return decode_image(raw, wanted.shape, place=place)

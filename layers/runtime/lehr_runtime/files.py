"""Files to rows: what the decoders of each kind of input have in common, in preparation and in serving."""

from __future__ import annotations

import numpy as np

from lehr.contracts.file_units import AudioInput, FileInput
from lehr_runtime.audio import decode_audio
from lehr_runtime.images import decode_image


def decode_file(raw: bytes, wanted: FileInput, *, place: str) -> np.ndarray:
    """A file as one row, of the dtype and the shape that `wanted` says. Raises MalformedDataError naming `place`."""
    if isinstance(wanted, AudioInput):
        return decode_audio(raw, sample_rate=wanted.sample_rate, samples=wanted.samples, place=place)
    return decode_image(raw, wanted.shape, place=place)

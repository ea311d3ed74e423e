"""Images, recordings and CSV to arrays: the decoders of lehr_runtime, and what their errors mean to a client."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import numpy as np

from functions.predict.problems import misfit
from lehr.contracts.package import TensorSpec
from lehr.errors import MalformedDataError
from lehr.http.problems import Problem
from lehr_runtime.audio import decode_audio
from lehr_runtime.images import MAX_PIXELS, count_pixels, decode_image, is_image_shape
from lehr_runtime.rows import decode_rows


def decode_images(files: Sequence[tuple[str, bytes]], spec: TensorSpec) -> np.ndarray:
    """Named files as [n, *shape]. Raises Problem: 415 where the model takes no image, 422 for what is none."""
    shape = spec.shape[1:]
    if spec.dtype != "uint8" or not is_image_shape(shape):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            f"This model takes {spec.dtype} of shape {shape}, which is no image.",
            headers={"Accept": "application/json, text/csv"},
        )
    batch = np.empty([len(files), *shape], dtype=np.uint8)
    pixels, place = 0, ""
    try:
        # Nothing is decoded before all headers were read: a small file may claim many pixels, and a batch many files.
        for place, raw in files:
            pixels += count_pixels(raw, place=place)
            if pixels > MAX_PIXELS:
                raise MalformedDataError("is one too many: the images are too large together", place=place)
        for index, (place, raw) in enumerate(files):
            batch[index] = decode_image(raw, shape, place=place)
    except MalformedDataError as fault:
        expected = f"PNG or JPEG files of {MAX_PIXELS} pixels at most, together"
        raise misfit(place, f"{place} {fault.message}.", expected=expected, got=fault.message) from fault
    return batch


def decode_recordings(
    files: Sequence[tuple[str, bytes]], spec: TensorSpec, sample_rate: int | None
) -> np.ndarray:
    """Named WAV files as int16 [n, samples].

    Raises Problem: 415 where the model takes no sound, 422 for what is none.
    """
    if sample_rate is None:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            f"This model takes {spec.dtype} of shape {spec.shape[1:]}, which is no sound.",
            headers={"Accept": "application/json, text/csv"},
        )
    batch = np.empty([len(files), *spec.shape[1:]], dtype=np.int16)
    for index, (place, raw) in enumerate(files):
        try:
            batch[index] = decode_audio(raw, sample_rate=sample_rate, samples=spec.shape[1], place=place)
        except MalformedDataError as fault:
            raise misfit(
                place, f"{place} {fault.message}.", expected="a WAV file", got=fault.message
            ) from fault
    return batch


def decode_csv(raw: bytes, spec: TensorSpec, *, max_rows: int) -> np.ndarray:
    """CSV as [n, *shape]. Raises Problem: 400 for what is not UTF-8, 422 for what does not fit."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as fault:
        raise Problem(HTTPStatus.BAD_REQUEST, "csv", "The body is not UTF-8.") from fault
    try:
        return decode_rows(text, spec.shape[1:], spec.dtype, max_rows=max_rows)
    except MalformedDataError as fault:
        expected = (
            f"1 to {max_rows} rows of {spec.dtype} values for shape {spec.shape[1:]}, last axis fastest"
        )
        raise misfit(
            fault.place, f"{fault.place}: {fault.message}.", expected=expected, got=fault.message
        ) from fault

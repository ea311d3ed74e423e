"""Faults that the campaign must find: decoders without one of their checks. Negative controls, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from functions.prepare_shard import files, prepare
from lehr.idx import parse_header
from lehr_runtime import images, masks
from lehr_runtime.files import decode_file


def _labels() -> None:
    """IDX files whose labels nobody holds against the recipe's."""
    vars(prepare)["_check"] = lambda *_: None


def _exceptions() -> None:
    """What Pillow raises comes out as it is."""

    @contextmanager
    def opened(raw: bytes, place: str) -> Iterator[Any]:
        with Image.open(io.BytesIO(raw)) as image:
            yield image

    for module in (images, masks):
        vars(module)["opened_image"] = opened


def _dtypes() -> None:
    """Rows of another type than the manifest says."""
    vars(files)["decode_file"] = lambda *of, **more: decode_file(*of, **more).astype(np.float32)


def _memory() -> None:
    """As many bytes as the header of an IDX file says, whether they are there or not."""

    def decode(raw: bytes, *, place: str, max_bytes: int = 0) -> np.ndarray:
        return np.ones(parse_header(raw, place=place).shape, dtype=np.uint8)

    vars(prepare)["decode_idx"] = decode


PLANTS: dict[str, Callable[[], None]] = {
    "labels": _labels,
    "exceptions": _exceptions,
    "dtypes": _dtypes,
    "memory": _memory,
}

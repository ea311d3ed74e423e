"""The mask of one image: pinned as the image is, and brought to the same size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lehr.contracts.file_units import FileExample, PrepareFilesUnit, StoredFile
from lehr.errors import ContractError
from lehr_runtime.images import oriented_size
from lehr_runtime.masks import decode_mask

# The bytes of a raw file. Raises DataError's children.
Fetch = Callable[[StoredFile], bytes]


def read_mask(unit: PrepareFilesUnit, example: FileExample, image: bytes, fetch: Fetch) -> np.ndarray:
    """uint8 [height, width] of the unit's input; `image` is the file that it belongs to.

    Raises MalformedDataError or MismatchedDataError, ContractError for an example without a mask.
    """
    if example.mask is None:
        raise ContractError(f"{example.file.key} has no mask")
    height, width = unit.input.shape[:2]
    return decode_mask(
        fetch(example.mask),
        (height, width),
        of_size=oriented_size(image, place=example.file.key),
        labels=unit.classes,
        ignore_value=unit.ignore_value,
        place=example.mask.key,
    )

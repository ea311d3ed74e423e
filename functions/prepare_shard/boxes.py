"""The objects of one image, as they stand in a shard."""

from __future__ import annotations

import numpy as np

from lehr.contracts.file_units import FileExample, PrepareFilesUnit
from lehr.errors import ContractError, MismatchedDataError
from lehr_runtime.detection import BOX_VALUES, NO_BOX
from lehr_runtime.images import oriented_size


def box_targets(unit: PrepareFilesUnit, example: FileExample, image: bytes) -> np.ndarray:
    """float32 [max_boxes, 5]: label, left, top, width and height in shares of the image; label -1 where there is none.

    Raises MismatchedDataError for an image of another size than its annotations say, ContractError for boxes that no
    plan of ours contains.
    """
    objects, most = example.objects, unit.max_boxes
    if objects is None or most is None or len(objects.boxes) > most:
        raise ContractError(f"{example.file.key} has no list of at most {most} boxes")
    found = oriented_size(image, place=example.file.key)
    if found != objects.size:
        (height, width), (said_height, said_width) = found, objects.size
        raise MismatchedDataError(
            f"is {width}x{height} pixels large, its annotations say {said_width}x{said_height}",
            place=example.file.key,
        )
    targets = np.zeros((most, BOX_VALUES), dtype=np.float32)
    targets[:, 0] = NO_BOX
    for row, box in enumerate(objects.boxes):
        if not 0 <= box.label < unit.classes:
            raise ContractError(f"{example.file.key} has a box of label {box.label} of {unit.classes}")
        targets[row] = box
    return targets

"""The composer of examples/digit-segmentation, which is no package, and what it composes as files."""

from __future__ import annotations

from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np

from lehr_runtime.masks import encode_image, encode_mask

EXAMPLE = Path(__file__).parents[1] / "examples/digit-segmentation"


@cache
def composer() -> ModuleType:
    spec = spec_from_file_location("compose", EXAMPLE / "compose.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ink_files(train: int, test: int, side: int) -> dict[str, bytes]:
    """Images whose masks say ink or ground, by their names."""
    files = {}
    for split, count in (("train", train), ("test", test)):
        images, masks = composer().compose(*composer().digits_of(split), count=count, side=side, seed=count)
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            files[f"{split}/images/{number}.png"] = encode_image(image)
            files[f"{split}/masks/{number}.png"] = encode_mask(np.minimum(mask, 1))
    return files

"""Compose the data of this example: images of one to five digits of varied size, with their boxes in COCO's JSON.

    .venv/bin/python examples/digit-detection/compose.py

The digits are those of examples/mnist/data: of its training files for data/train, of its test files for data/test, so
that no digit is in both. A box is drawn around a digit's ink. The same seed gives the same pixels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lehr_runtime.decode import decode_idx

HERE = Path(__file__).parent
MNIST = HERE.parent / "mnist" / "data"
FILES = {"train": "train", "test": "t10k"}
SEED = 1
MOST_DIGITS = 5
# Of a digit, as shares of the image's side.
SMALLEST, LARGEST = 0.18, 0.42
# Boxes of two digits share at most this part of the smaller one.
MOST_SHARED = 0.1
TRIES = 30
# From this grey value on a pixel is ink.
INK = 64
NOISE = 16.0

Box = tuple[int, int, int, int]


def compose(
    digits: np.ndarray, labels: np.ndarray, *, count: int, side: int, seed: int
) -> tuple[np.ndarray, list[list[tuple[int, Box]]]]:
    """`count` images, uint8 [count, side, side], and for each its digits with left, top, width and height in pixels."""
    random = np.random.Generator(np.random.PCG64(seed))
    images, objects = np.empty((count, side, side), dtype=np.uint8), []
    for image in images:
        light, there = np.zeros((side, side)), []
        for number in random.integers(0, len(digits), random.integers(1, MOST_DIGITS + 1)):
            digit = _scaled(_cropped(digits[number]), random.uniform(SMALLEST, LARGEST) * side)
            box = _place(digit, [box for _, box in there], side, random)
            if box is not None:
                left, top, width, height = box
                part = light[top : top + height, left : left + width]
                np.maximum(part, digit, out=part)
                there.append((int(labels[number]), box))
        noisy = np.maximum(light, random.uniform(0, 64)) + random.normal(0, NOISE, light.shape)
        image[:] = np.clip(np.rint(noisy), 0, 255)
        objects.append(there)
    return images, objects


def write(folder: Path, split: str, *, count: int, side: int, seed: int = SEED) -> None:
    """Compose a split: PNG files in `folder`/<split>, and `folder`/<split>/annotations.json."""
    digits, labels = (
        decode_idx((MNIST / f"{FILES[split]}-{kind}-ubyte.gz").read_bytes(), place=kind)
        for kind in ("images-idx3", "labels-idx1")
    )
    # A seed of its own for each split.
    own = seed * len(FILES) + list(FILES).index(split)
    images, objects = compose(digits, labels, count=count, side=side, seed=own)
    (folder / split).mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / split / _name(number))
    (folder / split / "annotations.json").write_text(json.dumps(coco(objects, side)))


def coco(objects: list[list[tuple[int, Box]]], side: int) -> dict[str, Any]:
    """https://cocodataset.org/#format-data"""
    flat = [(number, label, box) for number, there in enumerate(objects) for label, box in there]
    return {
        "images": [
            {"id": number, "file_name": _name(number), "width": side, "height": side}
            for number in range(len(objects))
        ],
        "annotations": [
            {
                "id": place,
                "image_id": number,
                "category_id": label + 1,
                "bbox": list(box),
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for place, (number, label, box) in enumerate(flat)
        ],
        "categories": [{"id": label + 1, "name": str(label)} for label in range(10)],
    }


def _name(number: int) -> str:
    return f"{number:05d}.png"


def _cropped(digit: np.ndarray) -> np.ndarray:
    """Without the rows and columns around it that have no ink."""
    rows, columns = np.flatnonzero((digit >= INK).any(1)), np.flatnonzero((digit >= INK).any(0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scaled(digit: np.ndarray, size: float) -> np.ndarray:
    """With a longer side of `size` pixels."""
    scale = size / max(digit.shape)
    height, width = (max(3, round(length * scale)) for length in digit.shape)
    return np.asarray(Image.fromarray(digit).resize((width, height), Image.Resampling.BILINEAR))


def _place(digit: np.ndarray, others: list[Box], side: int, random: np.random.Generator) -> Box | None:
    """Where it hides nothing of others; None where no place is found."""
    height, width = digit.shape
    for _ in range(TRIES):
        left, top = int(random.integers(0, side - width + 1)), int(random.integers(0, side - height + 1))
        box = (left, top, width, height)
        if all(_shared(box, other) <= MOST_SHARED for other in others):
            return box
    return None


def _shared(one: Box, other: Box) -> float:
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(0, across) * max(0, down) / min(one[2] * one[3], other[2] * other[3])


def main() -> None:
    options = argparse.ArgumentParser(description="Compose images of digits with boxes.")
    options.add_argument("--folder", type=Path, default=HERE / "data")
    options.add_argument("--train", type=int, default=3000, help="training images")
    options.add_argument("--test", type=int, default=500, help="test images")
    options.add_argument("--side", type=int, default=64, help="pixels of either side")
    given = options.parse_args()
    for split, count in (("train", given.train), ("test", given.test)):
        write(given.folder, split, count=count, side=given.side)
    print(f"{given.folder}: {given.train} training and {given.test} test images of {given.side}x{given.side}")


if __name__ == "__main__":
    main()

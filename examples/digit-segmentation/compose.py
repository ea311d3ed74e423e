"""Compose the data of this example: images of one to four digits on a noisy ground, with a mask for each.

    .venv/bin/python examples/digit-segmentation/compose.py

The digits are those of examples/mnist/data: of its training files for data/train, of its test files for data/test, so
that no digit is in both. A digit lies over those that were put down before it. The same seed gives the same pixels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lehr_runtime.decode import decode_idx
from lehr_runtime.masks import encode_image, encode_mask

HERE = Path(__file__).parent
MNIST = HERE.parent / "mnist" / "data"
SEED = 1
MOST_DIGITS = 4
# From this grey value on a pixel is ink.
INK = 64
NOISE = 12.0
FILES = {"train": "train", "test": "t10k"}


def compose(
    digits: np.ndarray, labels: np.ndarray, *, count: int, side: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """`count` images and masks, uint8 [count, side, side]; masks have 0 for the ground, 1 to 10 for digits."""
    random = np.random.Generator(np.random.PCG64(seed))
    images = np.empty((count, side, side), dtype=np.uint8)
    masks = np.zeros((count, side, side), dtype=np.uint8)
    for image, mask in zip(images, masks, strict=True):
        light = np.zeros((side, side))
        for number in random.integers(0, len(digits), random.integers(1, MOST_DIGITS + 1)):
            digit = _cropped(digits[number])
            top, left = (int(random.integers(0, side - size + 1)) for size in digit.shape)
            place = np.s_[top : top + digit.shape[0], left : left + digit.shape[1]]
            ink = digit >= INK
            light[place] = np.where(ink, digit, np.maximum(light[place], digit))
            mask[place] = np.where(ink, labels[number] + 1, mask[place])
        ground = random.uniform(0, 32)
        noisy = np.maximum(light, ground) + random.normal(0, NOISE, light.shape)
        image[:] = np.clip(np.rint(noisy), 0, 255)
    return images, masks


def digits_of(split: str) -> tuple[np.ndarray, np.ndarray]:
    """All digits of a split and their labels, uint8 [n, 28, 28] and uint8 [n]."""
    images, labels = (
        decode_idx((MNIST / f"{FILES[split]}-{kind}-ubyte.gz").read_bytes(), place=kind)
        for kind in ("images-idx3", "labels-idx1")
    )
    return images, labels


def write(folder: Path, split: str, *, count: int, side: int, seed: int = SEED) -> None:
    """Compose a split and write images and masks as PNG files below `folder`/<split>."""
    digits, labels = digits_of(split)
    # A seed of its own for each split.
    pairs = compose(digits, labels, count=count, side=side, seed=seed * len(FILES) + list(FILES).index(split))
    for name, rows, encode in zip(("images", "masks"), pairs, (encode_image, encode_mask), strict=True):
        (folder / split / name).mkdir(parents=True, exist_ok=True)
        for number, row in enumerate(rows):
            (folder / split / name / f"{number:05d}.png").write_bytes(encode(row))


def _cropped(digit: np.ndarray) -> np.ndarray:
    """Without the empty rows and columns around it."""
    rows, columns = np.flatnonzero(digit.any(1)), np.flatnonzero(digit.any(0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def main() -> None:
    options = argparse.ArgumentParser(description="Compose images of digits with masks.")
    options.add_argument("--folder", type=Path, default=HERE / "data")
    options.add_argument("--train", type=int, default=2000, help="training images")
    options.add_argument("--test", type=int, default=500, help="test images")
    options.add_argument("--side", type=int, default=64, help="pixels of either side")
    given = options.parse_args()
    for split, count in (("train", given.train), ("test", given.test)):
        write(given.folder, split, count=count, side=given.side)
    print(f"{given.folder}: {given.train} training and {given.test} test images of {given.side}x{given.side}")


if __name__ == "__main__":
    main()

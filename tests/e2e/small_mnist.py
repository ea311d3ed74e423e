"""A small project of real digits: the MNIST example with fewer rows, so that a run takes seconds.

How many training rows are dropped decides how good the model gets, and with that who wins. On AWS it is as small:
a machine without a GPU, of a type that a new account may start, for a quarter of an hour at most.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from lehr_runtime.decode import decode_idx

EXAMPLE = Path(__file__).parents[2] / "examples/mnist"
TEST_ROWS = 1000
INSTANCE_TYPE = "ml.m5.large"


def recipe(project: str, **replacements: str) -> str:
    """The example's lehr.toml with a gate that fits the smaller data."""
    text = (EXAMPLE / "lehr.toml").read_text()
    changes = {
        'name = "mnist"': f'name = "{project}"',
        "min_accuracy = 0.975": "min_accuracy = 0.5",
        "min_test_rows = 10000": f"min_test_rows = {TEST_ROWS}",
        "rows_per_shard = 30000": "rows_per_shard = 3000",
        "validation_fraction = 0.02": "validation_fraction = 0.1",
        'instance_type = "ml.g5.xlarge"': f'instance_type = "{INSTANCE_TYPE}"',
        "max_runtime_s = 3600": "max_runtime_s = 900",
    } | replacements
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    return text


def encode_idx(array: np.ndarray) -> bytes:
    """A gzipped IDX file of unsigned bytes."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), compresslevel=1, mtime=0)


def write_project(folder: Path, project: str, **replacements: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lehr.toml").write_text(recipe(project, **replacements))
    return folder


# What makes the recipe one of image files in folders of their labels.
IN_FOLDERS = {
    'format = "idx"': 'format = "folders"',
    'train = { images = "train-images-idx3-ubyte.gz", labels = "train-labels-idx1-ubyte.gz" }': 'files = ["*.png"]',
    'test = { images = "t10k-images-idx3-ubyte.gz", labels = "t10k-labels-idx1-ubyte.gz" }': "image_size = [28, 28]\n"
    "channels = 1",
}


def write_folders(folder: Path, rows: int) -> Path:
    """The first `rows` test images as PNG files, each in the folder of its label."""
    x, y = (
        decode_idx((EXAMPLE / f"data/t10k-{name}.gz").read_bytes(), place=name)
        for name in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    for row in range(rows):
        (folder / str(y[row])).mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[row]).save(folder / str(y[row]) / f"{row}.png")
    return folder


def write_data(folder: Path, train_rows: int) -> Path:
    """The four files with the first `train_rows` training images and the first 1,000 test images."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted((EXAMPLE / "data").glob("*.gz")):
        array = decode_idx(source.read_bytes(), place=source.name)
        rows = train_rows if source.name.startswith("train") else TEST_ROWS
        (folder / source.name).write_bytes(encode_idx(array[:rows]))
    return folder

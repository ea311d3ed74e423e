"""Small images of bright bars and poles with their boxes, as files in COCO's form, and a recipe that learns them."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from PIL import Image

LABELS = ["bar", "pole"]
SIDE = 32
RECIPE = """
[project]
name = "scenes"
task = "object_detection"
[data]
format = "coco"
annotations = "train/boxes.json"
test_annotations = "test/boxes.json"
image_size = [32, 32]
channels = 1
labels = ["bar", "pole"]
max_boxes = 3
validation_fraction = 0.2
[model]
name = "detector"
channels = [8, 16]
[augment]
horizontal_flip = true
contrast = 0.1
[training]
learning_rate = 0.01
epochs = 6
batch_size = 16
[gate]
min_map50 = 0.5
min_test_rows = 40
"""


def scenes(rows: int, seed: int = 0) -> tuple[np.ndarray, list[list[tuple[int, tuple[int, int, int, int]]]]]:
    """uint8 [rows, 32, 32], and label, left, top, width and height of what is in each."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 40, (rows, SIDE, SIDE), dtype=np.uint8)
    objects = []
    for image in x:
        there = []
        for half in range(int(random.integers(0, 3))):
            label = int(random.integers(0, 2))
            width, height = (12, 5) if label == 0 else (5, 12)
            left = half * 16 + int(random.integers(0, 16 - width + 1))
            top = int(random.integers(0, SIDE - height))
            image[top : top + height, left : left + width] = random.integers(180, 256)
            there.append((label, (left, top, width, height)))
        objects.append(there)
    return x, objects


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def files(*, train: int = 200, test: int = 50) -> dict[str, bytes]:
    """Names and bytes of both splits."""
    found: dict[str, bytes] = {}
    for split, rows, seed in (("train", train, 0), ("test", test, 1)):
        x, objects = scenes(rows, seed)
        document: dict[str, Any] = {
            "images": [
                {"id": row, "file_name": f"{row}.png", "width": SIDE, "height": SIDE} for row in range(rows)
            ],
            "annotations": [],
            "categories": [{"id": label, "name": name} for label, name in enumerate(LABELS)],
        }
        for row, there in enumerate(objects):
            for label, box in there:
                number = len(document["annotations"])
                document["annotations"].append(
                    {"id": number, "image_id": row, "category_id": label, "bbox": list(box)}
                )
        found |= {f"{split}/{row}.png": png(image) for row, image in enumerate(x)}
        found[f"{split}/boxes.json"] = json.dumps(document).encode()
    return found

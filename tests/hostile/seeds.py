"""A small drop of every format that is sound as it stands: what the campaign of hostile data sets out from."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.sounds import sweep

PROJECT = "hostile"
HEIGHT, WIDTH = 6, 5
# Of a set in which every example is a file; what is drawn by content then fills all splits.
FILES = 24
ROWS = 40
_SHARED = "rows_per_shard = 100\nvalidation_fraction = 0.25\nmax_refused_fraction = 0.3\n"
_IMAGES = f'image_size = [{HEIGHT}, {WIDTH}]\nlabels = ["round", "square"]\n' + _SHARED


@dataclass(frozen=True)
class Seed:
    """A drop by names below incoming/<project>/, and the kind of the files that are worth changing."""

    name: str
    recipe: str
    files: Mapping[str, bytes]


def _recipe(task: str, data: str, more: str = "") -> str:
    return f'[project]\nname = "{PROJECT}"\ntask = "{task}"\n[data]\n{data}{more}'


def _image(seed: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    random = np.random.default_rng(seed)
    shape = (HEIGHT, WIDTH, 3) if mode == "RGB" else (HEIGHT, WIDTH)
    stream = io.BytesIO()
    Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(stream, kind)
    return stream.getvalue()


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def _pairs() -> dict[str, bytes]:
    random = np.random.default_rng(3)
    files = {}
    for name, rows in (("train", 3 * ROWS), ("test", 10)):
        files[f"{name}-images"] = _idx(random.integers(0, 256, (rows, HEIGHT, WIDTH), dtype=np.uint8))
        files[f"{name}-labels"] = _idx((np.arange(rows) % 3).astype(np.uint8))
    return files


def _idx_recipe(ending: str = "", folder: str = "") -> str:
    pairs = "".join(
        f'{name} = {{ images = "{folder}{name}-images{ending}", labels = "{folder}{name}-labels{ending}" }}\n'
        for name in ("train", "test")
    )
    return _recipe(
        "image_classification",
        'format = "idx"\nlabels = ["0", "1", "2"]\nrows_per_shard = 100\nvalidation_fraction = 0.25\n'
        + pairs,
    )


def _packed(files: Mapping[str, bytes], ending: str = ".gz") -> dict[str, bytes]:
    return {name + ending: gzip.compress(raw, mtime=0) for name, raw in files.items()}


def _rows() -> list[dict[str, Any]]:
    draw = random.Random(4)
    return [
        {
            "km": draw.choice([None, round(draw.uniform(-1e3, 1e3), 3)]),
            "hour": draw.randrange(24),
            "zone": draw.choice(["north", "süd", 'the "old" town', "a;b, c"]),
            "class": ("cheap", "dear")[row % 2],
            "price": round(draw.uniform(1, 99), 2),
        }
        for row in range(ROWS)
    ]


def _csv(delimiter: str, *, is_plain: bool) -> bytes:
    rows = [
        {name: "" if value is None else value for name, value in row.items()}
        | ({"zone": "north" if row["hour"] % 2 else "west"} if is_plain else {})
        for row in _rows()
    ]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def _jsonl() -> bytes:
    return "".join(json.dumps(row, ensure_ascii=row["hour"] % 2 == 0) + "\n" for row in _rows()).encode()


def _parquet(**options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(_rows()), stream, row_group_size=15, **options)
    return stream.getvalue()


def _table(kind: str, ending: str, *, target: str = "class", pattern: str = "part-*") -> str:
    is_label = target == "class"
    return _recipe(
        "tabular_classification" if is_label else "tabular_regression",
        f'format = "{kind}"\nfiles = ["{pattern}{ending}"]\ntarget = "{target}"\n'
        + ('labels = ["cheap", "dear"]\ncolumns = { price = "ignore" }\n' if is_label else "")
        + _SHARED,
        "" if is_label else '[training]\nloss = "mse"\n',
    )


def _folders(kind: str = "PNG", ending: str = ".png") -> dict[str, bytes]:
    return {f"{('round', 'square')[row % 2]}/{row}{ending}": _image(row, kind) for row in range(FILES)}


def _masks() -> dict[str, bytes]:
    files = {}
    for row in range(FILES):
        files[f"images/{row}.png"] = _image(row)
        mask = np.random.default_rng(row).integers(0, 2, (HEIGHT, WIDTH), dtype=np.uint8)
        stream = io.BytesIO()
        image = Image.fromarray(mask)
        if row % 2:
            image.putpalette([0, 0, 0, 255, 255, 255])
        image.save(stream, "PNG")
        files[f"masks/{row}.png"] = stream.getvalue()
    return files


def _coco() -> dict[str, bytes]:
    told: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    told["categories"] = [{"id": 7, "name": "square"}, {"id": 3, "name": "round"}]
    for row in range(FILES):
        told["images"].append({"id": row, "file_name": f"{row}.png", "width": WIDTH, "height": HEIGHT})
        told["annotations"].append(
            {"id": row, "image_id": row, "category_id": (3, 7)[row % 2], "bbox": [1, 1.5, 2, row % 3 + 1]}
        )
    return {f"boxes/{row}.png": _image(row) for row in range(FILES)} | {
        "boxes/all.json": json.dumps(told).encode()
    }


def _manifest(name: str) -> dict[str, bytes]:
    files = _folders()
    if name.endswith(".csv"):
        text = "file,label\n" + "".join(f"{one},{one.partition('/')[0]}\n" for one in files)
    else:
        text = "".join(json.dumps({"file": one, "label": one.partition("/")[0]}) + "\n" for one in files)
    return files | {name: text.encode()}


def _sounds() -> dict[str, bytes]:
    return {
        f"{('up', 'down')[row % 2]}/{row}.wav": sweep(is_rising=row % 2 == 0, seed=row, seconds=0.05)
        for row in range(FILES)
    }


def zipped(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            archive.writestr(zipfile.ZipInfo(name), raw, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def tarred(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, raw in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            archive.addfile(entry, io.BytesIO(raw))
    return stream.getvalue()


_IMAGE_FOLDERS = _recipe("image_classification", 'format = "folders"\nfiles = ["*/*"]\n' + _IMAGES)
_SOUND = (
    'sample_rate = 8000\nseconds = 0.05\nlabels = ["up", "down"]\n'
    + _SHARED
    + '[model]\nname = "audio_cnn"\n'
)
_MASKS = f'image_size = [{HEIGHT * 2}, {WIDTH + 3}]\nlabels = ["no", "yes"]\n' + _SHARED
_UNET = '[model]\nname = "unet"\nchannels = [4, 8]\n'
_DETECTOR = '[model]\nname = "detector"\n'


PACKERS: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda files: gzip.compress(tarred(files), mtime=0),
}
# What a recipe says of files; all else in quotes are labels and columns.
_NAME = re.compile(r'"((?:part-|images/|masks/|boxes/|list\.|train-|test-|\*)[^"]*)"')


def in_archive(seed: Seed, kind: str) -> Seed:
    """The same files in one archive, by the names that they have there."""
    recipe = _NAME.sub(rf'"all.{kind}!\1"', seed.recipe)
    return Seed(f"{seed.name} in {kind}", recipe, {f"all.{kind}": PACKERS[kind](seed.files)})


@cache
def seeds() -> tuple[Seed, ...]:
    """One drop of each format."""
    folders = _folders()
    plain = [
        Seed("idx", _idx_recipe(), _pairs()),
        Seed("idx.gz", _idx_recipe(".gz"), _packed(_pairs())),
        Seed("csv", _table("csv", ".csv"), {"part-1.csv": _csv(",", is_plain=True)}),
        Seed("csv quoted", _table("csv", ".txt", target="price"), {"part-1.txt": _csv(";", is_plain=False)}),
        Seed("csv.gz", _table("csv", ".gz"), _packed({"part-1.csv": _csv("\t", is_plain=True)})),
        Seed("jsonl", _table("jsonl", ".jsonl", target="price"), {"part-1.jsonl": _jsonl()}),
        Seed("jsonl.gz", _table("jsonl", ".gz"), _packed({"part-1.jsonl": _jsonl()})),
        Seed("parquet", _table("parquet", ".parquet"), {"part-1.parquet": _parquet()}),
        Seed(
            "parquet plain",
            _table("parquet", ".parquet", target="price"),
            {"part-1.parquet": _parquet(compression="zstd", use_dictionary=False, data_page_version="2.0")},
        ),
        Seed("png", _IMAGE_FOLDERS, folders),
        Seed("jpeg", _IMAGE_FOLDERS, _folders("JPEG", ".jpg")),
        Seed(
            "masks",
            _recipe(
                "image_segmentation",
                'format = "masks"\nfiles = ["images/*"]\nmasks = ["masks/*"]\nignore_value = 255\n' + _MASKS,
                _UNET,
            ),
            _masks(),
        ),
        Seed(
            "coco",
            _recipe(
                "object_detection", 'format = "coco"\nannotations = "boxes/all.json"\n' + _IMAGES, _DETECTOR
            ),
            _coco(),
        ),
        *(
            Seed(
                f"manifest {ending}",
                _recipe(
                    "image_classification", f'format = "manifest"\nmanifest = "list{ending}"\n' + _IMAGES
                ),
                _manifest(f"list{ending}"),
            )
            for ending in (".csv", ".jsonl")
        ),
        Seed(
            "wav",
            _recipe("audio_classification", 'format = "folders"\nfiles = ["*.wav"]\n' + _SOUND),
            _sounds(),
        ),
    ]
    packed = [
        Seed(kind, _IMAGE_FOLDERS.replace("*/*", "*"), {f"all.{kind}": pack(folders)})
        for kind, pack in PACKERS.items()
    ]
    kinds = cycle(PACKERS)
    return (*plain, *packed, *(in_archive(seed, next(kinds)) for seed in plain))

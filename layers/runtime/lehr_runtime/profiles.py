"""What statistics and checks of a unit's rows are made of: when it is prepared, and again where rows were set aside.

Columns of a table are its own; an image is a number, its brightness, and a recording its loudness. Other data takes
part by being a few numbers too.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from lehr.contracts.profile import Sample, UnitProfile
from lehr.contracts.table_units import NumberSums
from lehr.contracts.tables import TableSchema
from lehr_runtime.row_numbers import row_numbers
from lehr_runtime.sketches import determined_by_number, determined_by_text, measured_rows, sketch
from lehr_runtime.tables import Table
from lehr_runtime.targets import row_labels

BRIGHTNESS, LOUDNESS = "brightness", "loudness"
HASHED = "(hashed)"
SAMPLES_PER_LABEL = 2
MAX_SAMPLES = 40
MAX_SAMPLE_PIXELS = 96
_BLOCK_ROWS = 1024
# numpy counts 64-bit copies of the bytes, which stay in a processor's cache.
_COUNTED_AT_ONCE = 128 << 10


def profile_images(index: int, x: np.ndarray, y: np.ndarray) -> UnitProfile:
    """Of training images uint8 [rows, h, w] or [rows, h, w, 3], or recordings int16 [rows, samples], with `y` as their
    shard has it.
    """
    return _profile(index, x, y, *number_of_each(x))


def number_of_each(x: np.ndarray) -> tuple[str, np.ndarray]:
    """What an image or a recording is as a number, and that number of each, float64 [rows].

    Of uint8 images it is the mean of their pixels, 0 to 255; of int16 recordings the root of the mean square, in units
    of 16 bits.
    """
    return LOUDNESS if x.dtype == np.int16 else BRIGHTNESS, row_numbers(x)


def _profile(index: int, x: np.ndarray, y: np.ndarray, name: str, values: np.ndarray) -> UnitProfile:
    """`values` float64 [rows] are what is counted of each row."""
    labels = row_labels(y)
    labelled = np.flatnonzero(labels >= 0)
    labels = labels[labelled]
    shown = [(int(labels[row]), x[labelled[row]]) for row in _few_of_each(labels)]
    return UnitProfile(
        index=index,
        rows=len(x),
        numbers=[sketch(name, values)],
        determined={name: _rounded(determined_by_number(values[labelled], labels, is_label=True))},
        samples=[
            Sample(label=str(label), png=to_png(waveform(row) if row.ndim == 1 else row))
            for label, row in shown
        ],
    )


def waveform(row: np.ndarray) -> np.ndarray:
    """int16 [samples] as a picture uint8 [48, 96]: between the lowest and the highest of each part it is dark."""
    edges = np.linspace(0, len(row), MAX_SAMPLE_PIXELS + 1).astype(int)
    parts = [row[first : max(last, first + 1)] for first, last in pairwise(edges)]
    height = MAX_SAMPLE_PIXELS // 2
    level = np.linspace(32_767, -32_768, height)[:, None]
    step = 65_536 / height
    low, high = (np.array([float(end(part)) for part in parts]) for end in (np.min, np.max))
    return np.where((level >= low - step / 2) & (level <= high + step / 2), 0, 255).astype(np.uint8)


def profile_table(index: int, table: Table, targets: np.ndarray, schema: TableSchema) -> UnitProfile:
    """Of training rows with their targets, labels or numbers [rows]."""
    is_label = bool(schema.labels)
    numbers = list(zip(schema.named("number"), table.numbers.T, strict=True))
    names = schema.named("category")
    categories = zip(names, table.categories.T, strict=True)
    some = measured_rows(len(table))
    told = {
        name: determined_by_number(column[some], targets[some], is_label=is_label) for name, column in numbers
    } | {
        name: determined_by_text(column[some], targets[some], is_label=is_label)
        for name, column in categories
    }
    chosen = _few_of_each(targets if is_label else np.zeros(len(table), dtype=np.uint8), at_most=8)
    return UnitProfile(
        index=index,
        rows=len(table),
        numbers=[sketch(name, column) for name, column in numbers],
        determined={name: _rounded(share) for name, share in told.items()},
        samples=[
            Sample(
                label=schema.labels[int(targets[row])] if is_label else f"{targets[row]:.6g}",
                cells=[
                    *("" if np.isnan(cell) else f"{cell:.6g}" for cell in table.numbers[row]),
                    *(
                        HASHED if name in schema.hashed else cell
                        for name, cell in zip(names, table.categories[row], strict=True)
                    ),
                ],
            )
            for row in chosen
        ],
        target=None if is_label else sketch(schema.target, targets),
    )


def number_sums(column: np.ndarray) -> NumberSums:
    """Sums in float64 of what is there in float32 [rows]."""
    given = column[~np.isnan(column)].astype(np.float64)
    return NumberSums(
        rows=len(given),
        missing=len(column) - len(given),
        total=float(given.sum()),
        squares=float(np.square(given).sum()),
    )


def count_texts(column: np.ndarray) -> dict[str, int]:
    """How many rows have each text, in the texts' order. An array of text is as wide as the longest in each row."""
    return dict(sorted(Counter(column.tolist()).items()))


def pixel_sums(x: np.ndarray) -> tuple[int, int]:
    """Sum and sum of squares of uint8 values, exactly, through a histogram.

    Of int16, the squares of a row fit 64 bits.
    """
    if x.dtype == np.int16:
        wide = (row.astype(np.int64) for row in x)
        sums = [(int(row.sum()), int(np.square(row).sum())) for row in wide]
        return sum(one for one, _ in sums), sum(square for _, square in sums)
    histogram = np.zeros(256, dtype=np.int64)
    flat = x.reshape(-1)
    for first in range(0, len(flat), _COUNTED_AT_ONCE):
        histogram += np.bincount(flat[first : first + _COUNTED_AT_ONCE], minlength=256)
    counts = histogram.tolist()
    return (
        sum(value * count for value, count in enumerate(counts)),
        sum(value * value * count for value, count in enumerate(counts)),
    )


def to_png(pixels: np.ndarray) -> str:
    """Grey [h, w] or colour [h, w, 3] in uint8 as PNG, in base64; of a larger one every n-th pixel."""
    step = -(-max(pixels.shape[:2]) // MAX_SAMPLE_PIXELS)
    small = np.ascontiguousarray(pixels[::step, ::step])
    height, width = small.shape[:2]
    rows = np.zeros((height, 1 + small[0].size), dtype=np.uint8)  # each begins with its filter, none
    rows[:, 1:] = small.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if small.ndim == 3 else 0, 0, 0, 0)
    pieces = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(_chunks(pieces))).decode()


def _chunks(pieces: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    for kind, body in pieces:
        yield struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _few_of_each(labels: np.ndarray, at_most: int = SAMPLES_PER_LABEL) -> list[int]:
    """The first rows of each label, in the labels' order."""
    chosen = [int(row) for label in np.unique(labels) for row in np.flatnonzero(labels == label)[:at_most]]
    return chosen[:MAX_SAMPLES]


def _rounded(value: float) -> float:
    """Six digits: what machines may differ in is not worth a version of its own."""
    return round(value, 6)

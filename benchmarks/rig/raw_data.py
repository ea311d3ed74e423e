"""Raw data of a wanted size, the same at every run: tables of numbers and categories, and photographs of a kind."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

MB = 1e6
FORMATS = ("csv", "jsonl", "parquet")
TABLES = ("numbers", "mixed")
_ROWS = 40_000
_LABELS = ("meadow", "street", "water")


def columns_of(table: str, rows: int) -> dict[str, np.ndarray]:
    """Numbers of two to four decimals, whole ones, and texts of few and of many values."""
    random = np.random.default_rng(1)
    columns: dict[str, np.ndarray] = {}
    for number in range(8 if table == "numbers" else 4):
        columns[f"f{number}"] = np.round(random.normal(size=rows) * 50, 4 if table == "numbers" else 2)
    for number in range(4):
        columns[f"i{number}"] = random.integers(0, 5000, rows)
    if table == "mixed":
        columns["zone"] = np.array([f"z{number}" for number in range(20)])[random.integers(0, 20, rows)]
        columns["carrier"] = np.array([f"carrier-{number}" for number in range(500)])[
            random.integers(0, 500, rows)
        ]
    return columns | {"y": np.round(random.normal(size=rows), 3)}


def write_tables(root: Path, table: str, megabytes: int, formats: Sequence[str] = FORMATS) -> None:
    """`megabytes` of CSV, and the same rows in the other formats: root/<format>/incoming/bench/<table>.<format>."""
    columns = columns_of(table, _ROWS)
    lines = [
        ",".join(row) for row in zip(*(one.astype(str).tolist() for one in columns.values()), strict=True)
    ]
    body = ("\n".join(lines) + "\n").encode()
    times = max(1, round(megabytes * MB / len(body)))
    objects = [
        dict(zip(columns, row, strict=True))
        for row in zip(*(one.tolist() for one in columns.values()), strict=True)
    ]
    json_lines = b"".join(msgspec.json.encode(one) + b"\n" for one in objects)
    for kind in formats:
        path = root / table / kind / "incoming/bench" / f"rows.{kind}"
        path.parent.mkdir(parents=True)
        if kind == "csv":
            path.write_bytes((",".join(columns) + "\n").encode() + body * times)
        elif kind == "jsonl":
            path.write_bytes(json_lines * times)
        else:
            arrow = pa.table({name: pa.array(column) for name, column in columns.items()})
            pq.write_table(pa.concat_tables([arrow] * times), path, row_group_size=250_000)


def write_large_table(path: Path, megabytes: int) -> int:
    """A CSV of "mixed" in which no row is another's copy, a piece at a time; returns its rows.

    A column tells the repetitions apart, so that whoever looks for equal rows finds none.
    """
    columns = columns_of("mixed", _ROWS)
    lines = [
        ",".join(("@@@@@@", *row))
        for row in zip(*(one.astype(str).tolist() for one in columns.values()), strict=True)
    ]
    body = ("\n".join(lines) + "\n").encode()
    times = max(1, round(megabytes * MB / len(body)))
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.write((",".join(["day", *columns]) + "\n").encode())
        for number in range(times):
            file.write(body.replace(b"@@@@@@", b"%06d" % number))
    return times * _ROWS


def write_photographs(root: Path, megabytes: int) -> int:
    """JPEGs of 640 by 480, about 70 kB each, in folders of three labels; returns how many."""
    count = size = 0
    for number, raw in enumerate(_photographs()):
        path = root / _LABELS[number % 3] / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        count, size = count + 1, size + len(raw)
        if size >= megabytes * MB:
            break
    return count


def _photographs() -> Iterator[bytes]:
    """Coarse colours with the grain of a sensor: what makes the work of decoding is their bytes and pixels."""
    random = np.random.default_rng(2)
    grain = random.normal(0, 11, (480, 640, 3)).astype(np.float32)
    while True:
        coarse = Image.fromarray(random.integers(40, 216, (6, 8, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), np.float32)
        stream = io.BytesIO()
        Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=80)
        yield stream.getvalue()

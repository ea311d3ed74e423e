"""Planning: which files a batch has, and the units that their rows are cut into.

Planning reads headers only and judges nothing: a file whose header does not say how many rows it has becomes one
unit, and predict_batch_unit, which reads all of it, finds the reason and refuses it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import msgspec

from lehr import layout
from lehr.contracts.batch_prediction import BatchUnit
from lehr.contracts.dataset import ObjectRef
from lehr.errors import MalformedDataError, MissingDataError, UserError
from lehr.file_formats import file_format
from lehr.idx import HEADER_BYTES, parse_header
from lehr.ports import ObjectStore, StoredObject

ROWS_PER_UNIT = 4096
MAX_FILES = 500
MAX_UNITS = 2000
# One after another, 500 headers would take most of the 30 seconds that API Gateway waits.
_READERS = 16
_START_BYTES = 64 << 10


def find_files(data: ObjectStore, project: str, key: str) -> list[StoredObject]:
    """The object `key` itself, or everything below it as a folder, in order.

    Raises UserError for a place outside batches/<project>/ or for too many files, MissingDataError if there is none.
    """
    prefix = layout.batches_prefix(project)
    place = data.uri(key)
    if not key.startswith(prefix) or key == prefix or ".." in key.split("/"):
        raise UserError(
            "is not below the project's folder of batches",
            place=place[:300],
            hint=f"put the rows under {data.uri(prefix)}<any name>/",
        )
    # Of all keys that begin with a name, the name itself comes first.
    first = None if key.endswith("/") else next(data.list(key), None)
    if first and first.key == key:
        return [first]
    entries = (entry for entry in data.list(key.rstrip("/") + "/") if not entry.key.endswith("/"))
    found = list(islice(entries, MAX_FILES + 1))
    if not found:
        raise MissingDataError("holds no file", place=place[:300])
    if len(found) > MAX_FILES:
        raise UserError(
            f"holds more than {MAX_FILES} files",
            place=place[:300],
            hint="put the rows into fewer files, or start a batch for each folder",
        )
    return found


def batch_id(files: Sequence[StoredObject], model_version: str) -> str:
    """Identity of a batch: keys and ETags of its files, and the model that answers. 12 hex digits."""
    lines = [f"{entry.key} {entry.etag}" for entry in files]
    return hashlib.sha256("\n".join([model_version, *lines]).encode()).hexdigest()[:12]


def plan_units(
    data: ObjectStore, files: Sequence[StoredObject], *, project: str, batch: str, model_version: str
) -> list[BatchUnit]:
    """Cut the files into units of ROWS_PER_UNIT rows. Raises UserError for more than MAX_UNITS."""
    with ThreadPoolExecutor(_READERS) as threads:
        counts = list(threads.map(lambda entry: count_rows(data, entry), files))
    units: list[BatchUnit] = []
    for entry, rows in zip(files, counts, strict=True):
        ref = ObjectRef(bucket=data.bucket, key=entry.key, etag=entry.etag, bytes=entry.bytes)
        if len(units) + -(-rows // ROWS_PER_UNIT) > MAX_UNITS:
            raise UserError(
                f"the rows are more than {MAX_UNITS} units of {ROWS_PER_UNIT}",
                place=data.uri(entry.key),
                hint="start several batches",
            )
        for first in range(0, rows, ROWS_PER_UNIT) if rows else [0]:
            units.append(
                BatchUnit(
                    project=project,
                    batch=batch,
                    model_version=model_version,
                    index=len(units),
                    source=ref,
                    first=first,
                    count=min(ROWS_PER_UNIT, rows - first) if rows else 0,
                )
            )
    if len(units) > MAX_UNITS:
        raise UserError(f"the files are more than {MAX_UNITS} units", place=data.uri(files[0].key))
    return units


def count_rows(data: ObjectStore, entry: StoredObject) -> int:
    """How many rows a file's header promises; 0 if it does not say, or cannot be read."""
    start = data.get_start(entry.key, HEADER_BYTES)
    try:
        match file_format(start):
            case "idx":
                return parse_header(start, place=entry.key).shape[0]
            case "safetensors":
                return _safetensors_rows(data, entry, start)
            case _:
                return 0
    except MalformedDataError:
        return 0


def _safetensors_rows(data: ObjectStore, entry: StoredObject, start: bytes) -> int:
    (length,) = struct.unpack("<Q", start[:8])
    if length > _START_BYTES:
        return 0
    text = start[8 : 8 + length]
    if len(text) < length:
        text = data.get_start(entry.key, 8 + length)[8:]
    try:
        header: Any = msgspec.json.decode(text)
        rows = header["x"]["shape"][0]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, IndexError, TypeError):
        return 0
    return rows if isinstance(rows, int) and 0 < rows < 1 << 40 else 0

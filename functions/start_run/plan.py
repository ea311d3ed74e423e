"""Planning: check that the data named by the recipe is there and agrees, and cut it into units of work."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from functions.start_run.archived import with_members
from functions.start_run.pins import pin, read_start
from lehr.contracts.data_tables import Data
from lehr.contracts.dataset import PrepareUnit
from lehr.contracts.recipe import Recipe
from lehr.errors import MalformedDataError, MismatchedDataError, MissingDataError
from lehr.idx import HEADER_BYTES, IdxHeader, is_gzipped, parse_header
from lehr.layout import READY, incoming_prefix
from lehr.ports import ObjectStore, StoredObject

ROWS_PER_UNIT = 20_000
# Every unit decodes the whole file for its rows, of the 2 GB that the function has.
MAX_PIXEL_BYTES = 1 << 30


def list_raw(data: ObjectStore, project: str) -> dict[str, StoredObject]:
    """The project's raw objects by their path below incoming/<project>/, without `_READY`, each with its version.

    The S3 console makes a folder by an empty object whose key ends with a slash: that is no file.
    """
    prefix = incoming_prefix(project)
    entries = (entry for entry in data.list_versions(prefix) if not entry.key.endswith("/"))
    found = {entry.key.removeprefix(prefix): entry for entry in entries}
    found.pop(READY, None)
    return found


def fingerprint(raw: Sequence[StoredObject], code_sha: str, initial_version: str = "") -> str:
    """Identity of a run's inputs: names and ETags of the data, the sha of recipe and code, and the model version that
    training starts from, empty for none. 64 hex digits."""
    lines = [f"{entry.key} {entry.etag}" for entry in sorted(raw, key=lambda entry: entry.key)]
    if initial_version:
        lines.append(f"initial {initial_version}")
    return hashlib.sha256("\n".join([code_sha, *lines]).encode()).hexdigest()


def named_files(data: Data) -> list[str]:
    """The files that the recipe names in pairs, in order."""
    return [name for files in data.pairs.values() for name in (files.images, files.labels)]


def plan_units(
    recipe: Recipe, raw: dict[str, StoredObject], data: ObjectStore, run: str
) -> list[PrepareUnit]:
    """Cut train and test into units of `rows_per_shard` rows, ROWS_PER_UNIT if it is left out.

    Raises MissingDataError, MalformedDataError or MismatchedDataError before anything was started.
    """
    project = recipe.project.name
    raw, data = with_members(recipe.data, raw, data)
    missing = [name for name in named_files(recipe.data) if name not in raw]
    if missing:
        raise MissingDataError(
            f"{', '.join(missing)} not found",
            place=data.uri(incoming_prefix(project)),
            hint=f"the recipe names {', '.join(named_files(recipe.data))}; upload them, then {READY}",
        )
    size = recipe.data.rows_per_shard or ROWS_PER_UNIT
    units: list[PrepareUnit] = []
    shapes = set()
    for source, files in recipe.data.pairs.items():
        images, labels = raw[files.images], raw[files.labels]
        header = _checked_pair(data, images, labels)
        shapes.add(header.shape[1:])
        total = header.shape[0]
        for first in range(0, total, size):
            units.append(
                PrepareUnit(
                    project=project,
                    run=run,
                    index=len(units),
                    of=0,
                    source=source,
                    images=pin(images, data),
                    labels=pin(labels, data),
                    first=first,
                    count=min(size, total - first),
                    total=total,
                    seed=recipe.data.seed,
                    validation_fraction=recipe.data.validation_fraction,
                    classes=len(recipe.data.labels),
                )
            )
    if len(shapes) > 1:
        raise MismatchedDataError(
            f"training and test images differ in size: {sorted(shapes)}",
            place=data.uri(incoming_prefix(project)),
        )
    return [msgspec.structs.replace(unit, of=len(units)) for unit in units]


def _checked_pair(data: ObjectStore, images: StoredObject, labels: StoredObject) -> IdxHeader:
    """Header of the images, after checking that it is one of images and fits the labels."""
    image_header, label_header = _header(data, images), _header(data, labels)
    if len(image_header.shape) != 3:
        raise MalformedDataError(
            f"has {len(image_header.shape)} dimensions; images have 3", place=data.uri(images.key)
        )
    if len(label_header.shape) != 1:
        raise MalformedDataError(
            f"has {len(label_header.shape)} dimensions; labels have 1", place=data.uri(labels.key)
        )
    if image_header.shape[0] != label_header.shape[0]:
        raise MismatchedDataError(
            f"{image_header.shape[0]} images but {label_header.shape[0]} labels",
            place=f"{data.uri(images.key)} and {labels.key.rpartition('/')[2]}",
            hint="both files must come from the same data set",
        )
    if image_header.shape[0] == 0 or image_header.data_bytes == 0:
        raise MalformedDataError("holds no images", place=data.uri(images.key))
    if image_header.data_bytes > MAX_PIXEL_BYTES:
        raise MalformedDataError(
            f"holds {image_header.data_bytes} bytes of pixels, more than {MAX_PIXEL_BYTES}",
            place=data.uri(images.key),
            hint="every unit would read all of it: drop so many as files in folders (docs/files.md), or in archives",
        )
    return image_header


def _header(data: ObjectStore, entry: StoredObject) -> IdxHeader:
    start = read_start(entry, HEADER_BYTES, data)
    header = parse_header(start, place=data.uri(entry.key))
    if not is_gzipped(start) and entry.bytes != header.offset + header.data_bytes:
        raise MalformedDataError(
            f"is {entry.bytes} bytes long; its header promises {header.offset + header.data_bytes}",
            place=data.uri(entry.key),
            hint="it was truncated or is not the file it claims to be: upload it again",
        )
    return header

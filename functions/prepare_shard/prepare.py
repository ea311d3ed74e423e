"""One unit of preparation: from raw files to shards.

Everything is a function of the unit alone, so a retry writes the same bytes to the same keys, and the
order of the whole dataset follows from the plan's seed however many units it is cut into.
"""

from __future__ import annotations

import hashlib

import numpy as np

from functions.prepare_shard.origins import write_origins
from lehr import layout
from lehr.archived_objects import ArchivedObjects
from lehr.contracts.dataset import ObjectRef, PrepareUnit, Split, UnitResult
from lehr.errors import ContractError, MismatchedDataError, MissingDataError
from lehr.ports import ObjectStore
from lehr_runtime.decode import decode_idx
from lehr_runtime.profiles import pixel_sums, profile_images
from lehr_runtime.row_hashes import array_hashes
from lehr_runtime.shard_storing import put_shard

# Of the function's 2 GB: the images, and those of the unit as rows and as the bytes of a shard.
MAX_BYTES = 1536 << 20


def prepare(unit: PrepareUnit, data: ObjectStore, artifacts: ObjectStore) -> UnitResult:
    """Write the unit's shards (one per split that got rows) and its UnitResult.

    Raises MissingDataError, ChangedDataError, MalformedDataError or MismatchedDataError for raw data to
    put right, ContractError for a unit that no plan of ours contains.
    """
    data = ArchivedObjects(data)
    # The images, about fifty times larger, come first: what decoding them needs is free again by then.
    images = _decode(unit.images, data, int(MAX_BYTES / (1 + 2 * unit.count / max(1, unit.total))))
    labels = _decode(unit.labels, data)
    _check(unit, images, labels)
    rows = np.random.Generator(np.random.PCG64(unit.seed)).permutation(unit.total)
    rows = rows[unit.first : unit.first + unit.count]
    splits: dict[Split, np.ndarray] = {"test": rows}
    if unit.source == "train":
        held_out = belongs_to_validation(images, rows, unit.validation_fraction)
        splits = {"train": rows[~held_out], "validation": rows[held_out]}
    shards = []
    hashes = []
    training = images[:0], labels[:0]
    pixels = pixel_sum = pixel_square_sum = 0
    for split, chosen in splits.items():
        if not len(chosen):
            continue
        x, y = images[chosen], labels[chosen]
        hashes.append(array_hashes(x))
        if split == "train":
            training = x, y
            pixels, (pixel_sum, pixel_square_sum) = x.size, pixel_sums(x)
        key = layout.staged_shard_key(unit.project, unit.run, split, unit.index, unit.of)
        shards.append(put_shard(artifacts, key, split, x, y, labels=unit.classes))
    result = UnitResult(
        index=unit.index,
        shards=shards,
        input_shape=list(images.shape[1:]),
        pixel_sum=pixel_sum,
        pixel_square_sum=pixel_square_sum,
        pixels=pixels,
    )
    order = np.concatenate(list(splits.values()))
    write_origins(unit, np.concatenate(hashes), order, artifacts)
    profile = profile_images(unit.index, *training)
    key = layout.unit_profile_key(unit.project, unit.run, unit.index)
    artifacts.put(key, profile.to_json(), content_type="application/json")
    key = layout.unit_result_key(unit.project, unit.run, unit.index)
    artifacts.put(key, result.to_json(), content_type="application/json")
    return result


def belongs_to_validation(images: np.ndarray, rows: np.ndarray, fraction: float) -> np.ndarray:
    """Which of `rows` are held out: boolean [len(rows)], a function of each image's bytes alone.

    An image therefore stays in its split when data is added, and its duplicates are never on both sides.
    """
    flat = np.ascontiguousarray(images).reshape(-1).data
    size = images[:1].nbytes
    digests = b"".join(
        hashlib.blake2b(flat[row * size : (row + 1) * size], digest_size=8).digest() for row in rows.tolist()
    )
    # In whole numbers: a share of 1 is a bound of 65 bits.
    last = round(fraction * 2**64) - 1
    return np.frombuffer(digests, dtype=">u8") <= np.uint64(last) if last >= 0 else np.zeros(len(rows), bool)


def _decode(ref: ObjectRef, data: ObjectStore, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The array of a raw object, if it is still the one that the plan saw."""
    if ref.bucket != data.bucket:
        raise ContractError(f"the unit names bucket {ref.bucket}; raw data is read from {data.bucket} only")
    place = data.uri(ref.key)
    try:
        raw = data.get(ref.key, etag=ref.etag, version=ref.version_or_none)
    except KeyError as fault:
        raise MissingDataError("is not there", place=place, hint="it was deleted after _READY") from fault
    return decode_idx(raw, place=place, max_bytes=max_bytes)


def _check(unit: PrepareUnit, images: np.ndarray, labels: np.ndarray) -> None:
    images_at, labels_at = unit.images.key, unit.labels.key
    if images.ndim != 3 or 0 in images.shape[1:]:
        raise MismatchedDataError(
            f"has shape {images.shape}; images have three dimensions",
            place=images_at,
            hint="are the two files swapped?",
        )
    if labels.ndim != 1:
        raise MismatchedDataError(
            f"has shape {labels.shape}; labels have one dimension",
            place=labels_at,
            hint="are the two files swapped?",
        )
    if len(images) != len(labels):
        raise MismatchedDataError(
            f"{images_at} has {len(images)} images, {labels_at} has {len(labels)} labels",
            hint="row n of one file belongs to row n of the other",
        )
    if len(images) != unit.total:
        raise MismatchedDataError(f"has {len(images)} rows, the plan says {unit.total}", place=images_at)
    if not (unit.first >= 0 and 0 < unit.count <= unit.total - unit.first and 0 <= unit.index < unit.of):
        raise ContractError(
            f"unit {unit.index} of {unit.of} asks for rows {unit.first} to {unit.first + unit.count} of {unit.total}"
        )
    wrong = np.flatnonzero(labels >= unit.classes)
    if len(wrong):
        row = int(wrong[0])
        raise MismatchedDataError(
            f"row {row} has label {int(labels[row])}; the recipe names {unit.classes} labels, 0 to "
            f"{unit.classes - 1} ({len(wrong)} such rows)",
            place=labels_at,
            hint="name every label in lehr.toml: data.labels",
        )

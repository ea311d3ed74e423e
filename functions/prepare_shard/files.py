"""One list of files: fetched many at a time, decoded to rows, with what cannot be read set aside.

Everything is a function of the unit alone. An example's split is one of its own content: it stays where it is when data
is added, and equal examples are never on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np

from functions.prepare_shard.boxes import box_targets
from functions.prepare_shard.decoded import Decoded, Fault, bare
from functions.prepare_shard.masks import Fetch, read_mask
from functions.prepare_shard.origins import write_origins
from functions.prepare_shard.quarantine import MAX_QUARANTINED, Refused
from lehr import layout
from lehr.archived_objects import ArchivedObjects
from lehr.contracts.dataset import Split, UnitResult
from lehr.contracts.file_units import FileExample, FileList, FileVersions, PrepareFilesUnit, StoredFile
from lehr.contracts.profile import UnitProfile
from lehr.errors import ContractError, MalformedDataError, MismatchedDataError, MissingDataError
from lehr.ports import ObjectStore
from lehr_runtime.files import decode_file
from lehr_runtime.profiles import pixel_sums, profile_images
from lehr_runtime.row_hashes import array_hashes
from lehr_runtime.shard_storing import put_shard

# boto3 keeps ten connections; the threads wait for S3 most of their time.
FETCHED_AT_ONCE = 10
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# More than any image or minute of sound; ten of them are in memory at once.
MAX_FILE_BYTES = 64 << 20


def prepare_files(unit: PrepareFilesUnit, data: ObjectStore, artifacts: ObjectStore) -> UnitResult:
    """Write the unit's shards (one per split that got examples), what was refused, and its UnitResult.

    Raises DataError's children for files to put right, ContractError for a unit that no plan of ours contains.
    """
    examples = _read_list(unit, artifacts)
    fetch = _fetcher(unit, _read_versions(unit, examples, artifacts), data)
    rows: list[Decoded] = []
    splits: list[int] = []
    places: list[int] = []
    quarantine: list[Refused] = []
    total = refused = 0
    for place, (name, is_test, found) in enumerate(_all_decoded(unit, examples, fetch)):
        total += 1
        if isinstance(found, Decoded):
            rows.append(found)
            places.append(place)
            splits.append(_split(unit, found.x, is_test=is_test))
            continue
        refused += 1
        if len(quarantine) < MAX_QUARANTINED:
            quarantine.append(Refused(found.place or name, 0, found.message))
    if refused:
        lines = b"".join(msgspec.json.encode(one) + b"\n" for one in quarantine)
        artifacts.put(layout.quarantine_key(unit.project, unit.run, unit.index), lines)
    if refused > unit.max_refused_fraction * total:
        first = "; ".join(f"{one.file} {one.reason}" for one in quarantine[:3])
        raise MalformedDataError(
            f"{refused} of {total} files are refused: {first}",
            place=data.uri(layout.incoming_prefix(unit.project)),
            hint="put the files right or take them away, or allow more with data.max_refused_fraction",
        )
    result = _write(unit, rows, splits, places, refused, artifacts)
    key = layout.unit_result_key(unit.project, unit.run, unit.index)
    artifacts.put(key, result.to_json(), content_type="application/json")
    return result


def _read_list(unit: PrepareFilesUnit, artifacts: ObjectStore) -> list[FileExample]:
    try:
        examples = FileList.from_json(artifacts.get(unit.list_key)).examples
    except KeyError as fault:
        raise ContractError(f"the unit's list {artifacts.uri(unit.list_key)} is not there") from fault
    if len(examples) != unit.count or not examples:
        raise ContractError(f"the unit has {unit.count} files, its list {len(examples)}")
    return examples


def _read_versions(
    unit: PrepareFilesUnit, examples: Sequence[FileExample], artifacts: ObjectStore
) -> dict[str, str]:
    """The versions of the unit's files and masks, by key; none where they are pinned by their ETags alone."""
    if not unit.versions_key:
        return {}
    try:
        versions = FileVersions.from_json(artifacts.get(unit.versions_key))
    except KeyError as fault:
        raise ContractError(
            f"the versions of the unit's files {artifacts.uri(unit.versions_key)} are not there"
        ) from fault
    masks = [one.mask.key for one in examples if one.mask]
    if (len(versions.files), len(versions.masks)) != (len(examples), len(masks)):
        raise ContractError(f"the unit has {unit.count} files, versions of {len(versions.files)}")
    keys = [*(one.file.key for one in examples), *masks]
    return dict(zip(keys, [*versions.files, *versions.masks], strict=True))


def _fetcher(unit: PrepareFilesUnit, versions: Mapping[str, str], data: ObjectStore) -> Fetch:
    if unit.bucket != data.bucket:
        raise ContractError(f"the unit names bucket {unit.bucket}; raw data is read from {data.bucket} only")

    objects = ArchivedObjects(data)

    def fetch(file: StoredFile) -> bytes:
        try:
            return objects.get(file.key, etag=file.etag, version=versions.get(file.key, ""))
        except KeyError as fault:
            raise MissingDataError(
                "is not there", place=data.uri(file.key), hint="it was deleted after _READY"
            ) from fault

    return fetch


def _all_decoded(
    unit: PrepareFilesUnit, examples: Sequence[FileExample], fetch: Fetch
) -> Iterator[tuple[str, bool, Decoded | Fault]]:
    """Name of every example, whether it is the test's, and what it is or what is wrong with it."""
    with ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
        decoded = pool.map(lambda one: _decode(unit, one, fetch), examples)
        for example, found in zip(examples, decoded, strict=True):
            yield example.file.key, example.is_test, found


def _decode(unit: PrepareFilesUnit, example: FileExample, fetch: Fetch) -> Decoded | Fault:
    """The example, or what is wrong with it."""
    if example.file.bytes > MAX_FILE_BYTES:
        return MalformedDataError(
            f"has {example.file.bytes} bytes, more than {MAX_FILE_BYTES}", place=example.file.key
        )
    try:
        raw = fetch(example.file)
        x = decode_file(raw, unit.input, place=example.file.key)
        if example.mask is not None:
            return Decoded(x, read_mask(unit, example, raw, fetch))
        if example.objects is not None:
            return Decoded(x, box_targets(unit, example, raw))
        return Decoded(x, _target(unit, example))
    except (MalformedDataError, MismatchedDataError) as fault:
        return bare(fault)


def _target(unit: PrepareFilesUnit, example: FileExample) -> np.ndarray:
    if example.label is None or not 0 <= example.label < unit.classes:
        raise ContractError(f"{example.file.key} has label {example.label} of {unit.classes}")
    return np.array(example.label, dtype=np.uint8)


def _split(unit: PrepareFilesUnit, x: np.ndarray, *, is_test: bool) -> int:
    """The place in _SPLITS that an example's own content gives it."""
    digest = hashlib.blake2b(np.ascontiguousarray(x).data, digest_size=8).digest()
    share = int.from_bytes(digest) / 2**64
    if is_test or share < unit.test_fraction:
        return 2
    rest = (share - unit.test_fraction) / (1 - unit.test_fraction)
    return 1 if rest < unit.validation_fraction else 0


def _write(
    unit: PrepareFilesUnit,
    rows: Sequence[Decoded],
    splits: Sequence[int],
    places: Sequence[int],
    refused: int,
    artifacts: ObjectStore,
) -> UnitResult:
    shards = []
    hashes = []
    profile = UnitProfile(index=unit.index, rows=0, numbers=[], determined={}, samples=[])
    pixels = pixel_sum = pixel_square_sum = 0
    for place, split in enumerate(_SPLITS):
        chosen = [row for row, own in zip(rows, splits, strict=True) if own == place]
        if not chosen:
            continue
        x, y = np.stack([one.x for one in chosen]), np.stack([one.y for one in chosen])
        if split == "train":
            pixels, (pixel_sum, pixel_square_sum) = x.size, pixel_sums(x)
            profile = profile_images(unit.index, x, y)
        hashes.append(array_hashes(x))
        key = layout.staged_shard_key(unit.project, unit.run, split, unit.index, unit.of)
        shards.append(put_shard(artifacts, key, split, x, y, labels=unit.classes))
    # In the order of the shards: by split, and there as they were listed.
    order = np.array(places, dtype=np.int64)[np.argsort(splits, kind="stable")]
    write_origins(unit, np.concatenate(hashes) if hashes else np.empty(0, np.uint64), order, artifacts)
    key = layout.unit_profile_key(unit.project, unit.run, unit.index)
    artifacts.put(key, profile.to_json(), content_type="application/json")
    return UnitResult(
        index=unit.index,
        shards=shards,
        input_shape=unit.input.shape,
        pixel_sum=pixel_sum,
        pixel_square_sum=pixel_square_sum,
        pixels=pixels,
        refused=refused,
    )

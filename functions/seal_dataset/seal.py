"""The data gate and the sealing of a version.

A Map may have run a unit twice or lost one: what counts is not what the Map answered but what the plan asks
for, so every planned unit's result is read back from S3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import sqrt
from typing import TypeVar

import msgspec

from functions.seal_dataset.reading import read_all
from functions.seal_dataset.same_rows import Unit
from functions.seal_dataset.screening import screen
from functions.seal_dataset.sharing import Moves, address, copy_new, write_channels
from functions.seal_dataset.tables import merge_statistics
from functions.seal_dataset.vouching import Evidence, vouch
from lehr import layout
from lehr.clock import now
from lehr.contracts.data_rules import FILES, SOUND, is_table
from lehr.contracts.dataset import DatasetManifest, PrepareUnit, RawList, Shard, Split, UnitResult
from lehr.contracts.file_units import PrepareFilesUnit
from lehr.contracts.recipe import Recipe
from lehr.contracts.registry import DatasetRecord
from lehr.contracts.table_units import PrepareTableUnit, TableUnitResult
from lehr.contracts.workflow import SealedDataset, SealRequest
from lehr.errors import InsufficientDataError, MismatchedDataError, MissingDataError
from lehr.ports import ModelRegistry, ObjectStore
from lehr.table_plans import with_table

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def seal(request: SealRequest, artifacts: ObjectStore, registry: ModelRegistry) -> SealedDataset:
    """Write the version. Running it again writes the same bytes to the same keys.

    Raises DataError's children for data that is not enough, or fails a check that [checks] says to reject it for.
    """
    project, run = request.project, request.run
    recipe = Recipe.from_json(artifacts.get(layout.recipe_key(project, run)))
    raw_plan = artifacts.get(layout.plan_key(project, run))
    manifest, moves, evidence = _describe(recipe, raw_plan, artifacts)
    version = manifest.sha256()[:16]
    statistics = vouch(recipe, run, version, evidence, artifacts, registry)
    manifest_key = layout.dataset_manifest_key(project, version)
    # Of a version that is there too: what another one shared with it may have been erased.
    copy_new(moves, project, artifacts)
    if not artifacts.exists(manifest_key):
        write_channels(manifest, version, artifacts)
        for key, document in statistics.items():
            # Not once: of another run that was cut off here, last digits of a sum may be those of another processor.
            artifacts.put(key, document.to_json(), content_type="application/json")
        artifacts.put_once(manifest_key, manifest.to_json(), content_type="application/json")
    rows: dict[str, int] = {split: manifest.rows(split) for split in SPLITS}
    registry.add_dataset(
        DatasetRecord(project=project, version=version, run=run, created_at=now(), rows=rows)
    )
    return SealedDataset(
        version=version,
        manifest_uri=artifacts.uri(manifest_key),
        train_uri=artifacts.uri(layout.dataset_channel_key(project, version, "train")),
        validation_uri=artifacts.uri(layout.dataset_channel_key(project, version, "validation")),
        rows=rows,
    )


Described = tuple[DatasetManifest, Moves, Evidence]


def _describe(recipe: Recipe, raw_plan: bytes, artifacts: ObjectStore) -> Described:
    if is_table(recipe.project.task):
        return _table_manifest(recipe, raw_plan, artifacts)
    if recipe.data.format in FILES:
        return _files_manifest(recipe, raw_plan, artifacts)
    return _image_manifest(recipe, raw_plan, artifacts)


def _image_manifest(recipe: Recipe, raw_plan: bytes, artifacts: ObjectStore) -> Described:
    plan = msgspec.json.decode(raw_plan, type=list[PrepareUnit])
    results = read_all(lambda unit: _result(artifacts, unit, UnitResult), plan)
    results, screened = screen(recipe.checks, plan, results, artifacts)
    staged = [shard for result in results for shard in result.shards]
    check_sufficient(staged, recipe.data.labels, recipe.data.validation_fraction)
    shards, moves = address(staged, SPLITS)
    raw = {ref.key: ref.of_content for unit in plan for ref in (unit.images, unit.labels)}
    manifest = _manifest(recipe, results, shards)
    manifest = msgspec.structs.replace(manifest, raw=sorted(raw.values(), key=lambda ref: ref.key))
    return manifest, moves, Evidence(manifest=manifest, screened=screened)


def _files_manifest(recipe: Recipe, raw_plan: bytes, artifacts: ObjectStore) -> Described:
    plan = msgspec.json.decode(raw_plan, type=list[PrepareFilesUnit])
    results = read_all(lambda unit: _result(artifacts, unit, UnitResult), plan)
    results, screened = screen(recipe.checks, plan, results, artifacts)
    staged = [shard for result in results for shard in result.shards]
    check_sufficient(staged, recipe.data.labels, recipe.data.validation_fraction)
    shards, moves = address(staged, SPLITS)
    raw_lists = []
    digests = read_all(lambda unit: hashlib.sha256(artifacts.get(unit.list_key)).hexdigest(), plan)
    for unit, digest in zip(plan, digests, strict=True):
        key = layout.shared_list(digest)
        raw_lists.append(RawList(key=key, sha256=digest, files=unit.count))
        moves.append((unit.list_key, key))
    described_by = [ref.of_content for ref in plan[0].described_by]
    manifest = msgspec.structs.replace(
        _manifest(recipe, results, shards), raw=described_by, raw_lists=raw_lists
    )
    return manifest, moves, Evidence(manifest=manifest, screened=screened, refused=_refused(plan, results))


def _manifest(recipe: Recipe, results: list[UnitResult], shards: list[Shard]) -> DatasetManifest:
    """Of rows of pixels, without its raw files."""
    mean, std = _moments(results)
    return DatasetManifest(
        project=recipe.project.name,
        format=recipe.data.format,
        input_shape=_common_shape(results),
        input_dtype="int16" if recipe.project.task in SOUND else "uint8",
        labels=recipe.data.labels,
        shards=shards,
        mean=mean,
        std=std,
        raw=[],
        seed=recipe.data.seed,
        validation_fraction=recipe.data.validation_fraction,
    )


def _table_manifest(recipe: Recipe, raw_plan: bytes, artifacts: ObjectStore) -> Described:
    plan = msgspec.json.decode(raw_plan, type=list[PrepareTableUnit])
    schema = with_table(plan[0], artifacts).table
    plan = [msgspec.structs.replace(unit, table=schema) for unit in plan]
    results = read_all(lambda unit: _result(artifacts, unit, TableUnitResult), plan)
    results, screened = screen(recipe.checks, plan, results, artifacts)
    staged = [shard for result in results for shard in result.shards]
    check_sufficient(staged, recipe.data.labels, recipe.data.validation_fraction)
    shards, moves = address(staged, SPLITS)
    table = merge_statistics(plan, results)
    manifest = DatasetManifest(
        project=recipe.project.name,
        format=recipe.data.format,
        input_shape=[len(table.numbers) + len(table.categories)],
        input_dtype="float32",
        labels=recipe.data.labels,
        shards=shards,
        mean=0.0,
        std=0.0,
        raw=[ref.of_content for _, ref in sorted({unit.file.key: unit.file for unit in plan}.items())],
        seed=recipe.data.seed,
        validation_fraction=recipe.data.validation_fraction,
        table=table,
    )
    names = plan[0].table.named("category")
    evidence = Evidence(
        manifest=manifest,
        screened=screened,
        counts=[dict(zip(names, one.categories, strict=True)) for one in results],
        refused=_refused(plan, results),
    )
    return manifest, moves, evidence


def _refused(plan: Sequence[Unit], results: Sequence[UnitResult | TableUnitResult]) -> dict[str, int]:
    """How many examples each unit could not read, by the object that lists them."""
    keys = [layout.quarantine_key(unit.project, unit.run, unit.index) for unit in plan]
    return {key: result.refused for key, result in zip(keys, results, strict=True)}


def check_sufficient(shards: list[Shard], labels: list[str], validation_fraction: float) -> None:
    """The data gate. Raises InsufficientDataError for an empty split or a label without a training example."""
    for split in SPLITS:
        if not any(shard.rows for shard in shards if shard.split == split):
            if split == "validation" and validation_fraction == 0:
                continue
            raise InsufficientDataError(
                f"the {split} split has no rows", hint="add data, or change [data] in lehr.toml"
            )
    counts = [
        sum(shard.class_counts[label] for shard in shards if shard.split == "train")
        for label in range(len(labels))
    ]
    absent = [label for label, count in zip(labels, counts, strict=True) if count == 0]
    if absent:
        raise InsufficientDataError(
            f"no training example of {', '.join(absent)}",
            hint="add examples, or take the label out of data.labels",
        )


_Result = TypeVar("_Result", UnitResult, TableUnitResult)


def _result(
    artifacts: ObjectStore, unit: PrepareUnit | PrepareTableUnit | PrepareFilesUnit, kind: type[_Result]
) -> _Result:
    key = layout.unit_result_key(unit.project, unit.run, unit.index)
    try:
        return kind.from_json(artifacts.get(key))
    except KeyError as fault:
        raise MissingDataError(
            f"unit {unit.index + 1} of {unit.of} has written no result", place=artifacts.uri(key)
        ) from fault


def _common_shape(results: list[UnitResult]) -> list[int]:
    shapes = {tuple(result.input_shape) for result in results}
    if len(shapes) != 1:
        raise MismatchedDataError(f"the units disagree on the shape of an image: {sorted(shapes)}")
    return list(shapes.pop())


def _moments(results: list[UnitResult]) -> tuple[float, float]:
    """Mean and standard deviation of the training pixels from exact integer sums."""
    pixels = sum(result.pixels for result in results)
    if pixels == 0:
        raise InsufficientDataError("the training split has no pixels")
    mean = sum(result.pixel_sum for result in results) / pixels
    variance = sum(result.pixel_square_sum for result in results) / pixels - mean**2
    return mean, sqrt(max(variance, 0.0))

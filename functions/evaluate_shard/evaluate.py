"""Evaluation of one shard: candidate and champion see the same rows, and what they got right is counted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from functions.evaluate_shard.boxes import evaluate_boxes
from functions.evaluate_shard.masks import evaluate_masks
from functions.evaluate_shard.rows import evaluate_labels, evaluate_values
from functions.evaluate_shard.timing import time_models
from lehr import layout
from lehr.contracts.detection import ShardDetection
from lehr.contracts.evaluation import EvaluateUnit, ShardEvaluation
from lehr.contracts.package import Signature
from lehr.contracts.regression import ShardRegression
from lehr.contracts.segmentation import ShardSegmentation
from lehr.errors import MalformedDataError, MismatchedDataError, MissingDataError, ModelPackageError
from lehr.ports import ObjectStore
from lehr.table_difference import WAY_OUT, table_difference
from lehr_runtime.bootstrap import row_ids
from lehr_runtime.detection import BOX_VALUES
from lehr_runtime.packages import LoadedModel
from lehr_runtime.shards import read_shard
from lehr_runtime.slicing import Slice, cut
from lehr_runtime.tables import Inputs, Table, from_tensors

ShardResult = ShardEvaluation | ShardRegression | ShardSegmentation | ShardDetection


def evaluate(unit: EvaluateUnit, store: ObjectStore, load: Callable[[str, str], LoadedModel]) -> ShardResult:
    """Write the unit's ShardEvaluation, or what another task has in its place; `load(project, version)` gives a model.

    Raises ModelPackageError for a model that must not be judged on this data, DataError's children for a
    shard that is not what the manifest says.
    """
    candidate = load(unit.project, unit.candidate)
    champion = load(unit.project, unit.champion) if unit.champion else None
    if champion and champion.signature.labels != candidate.signature.labels:
        raise ModelPackageError(
            f"champion {champion.version} and candidate {candidate.version} have different labels: "
            "the same rows cannot judge both (train it under another project.name)"
        )
    if champion and champion.signature.task != candidate.signature.task:
        raise ModelPackageError(
            f"champion {champion.version} does {champion.signature.task}, candidate {candidate.version} "
            f"{candidate.signature.task}: the same rows cannot judge both (train it under another project.name)"
        )
    if champion and champion.signature.of_sound != candidate.signature.of_sound:
        raise ModelPackageError(
            f"champion {champion.version} takes {_sound(champion)}, candidate {candidate.version} {_sound(candidate)}: "
            "the same rows cannot judge both (train it under another project.name)"
        )
    if champion and (difference := _difference(champion.signature, candidate.signature)):
        raise ModelPackageError(
            f"champion {champion.version} and candidate {candidate.version} differ in {difference}: "
            f"the same rows cannot judge both ({WAY_OUT})"
        )
    models = [candidate, champion] if champion else [candidate]
    x, y = _read(unit, store)
    for model in models:
        _check_columns(model, x)
    slices = cut(unit.slices, x, y, candidate.signature)
    result = _measured(unit, models, x, y, slices)
    timings = time_models(models, x)
    result = msgspec.structs.replace(
        result,
        shard_sha256=unit.shard.sha256,
        candidate_version=candidate.version,
        champion_version=champion.version if champion else None,
        candidate_timing=timings[0],
        champion_timing=timings[1] if champion else None,
    )
    key = layout.evaluation_part_key(unit.project, unit.run, unit.candidate, unit.champion, unit.index)
    store.put(key, result.to_json(), content_type="application/json")
    return result


def _measured(
    unit: EvaluateUnit, models: Sequence[LoadedModel], x: Inputs, y: np.ndarray, slices: Sequence[Slice]
) -> ShardResult:
    """What the task has of `models`, the candidate and perhaps the champion."""
    ids = row_ids(unit.shard.sha256, len(y))
    if y.ndim == 3:
        assert isinstance(x, np.ndarray)  # _read
        evaluate_images = evaluate_boxes if y.dtype == np.float32 else evaluate_masks
        return evaluate_images(unit.index, models, x, y, ids, slices)
    evaluate_rows = evaluate_values if y.dtype == np.float32 else evaluate_labels
    return evaluate_rows(unit.index, models, x, y, ids, slices)


def _sound(model: LoadedModel) -> str:
    rate = model.signature.of_sound
    return f"sound of {rate} Hz" if rate else "no sound"


def _difference(champion: Signature, candidate: Signature) -> str:
    """What tells the rows of the two apart; empty for nothing."""
    one, other = champion.of_table, candidate.of_table
    if one is None or other is None:
        return "" if one is other else "what they take: one of them takes a table"
    return table_difference(one, other)


def _check_columns(model: LoadedModel, x: Inputs) -> None:
    """Raises ModelPackageError for a model of other inputs, whose columns changed since, for example."""
    table = model.signature.of_table
    wants_categories = bool(table and table.categories)
    numbers = x.numbers if isinstance(x, Table) else x
    found, spec = list(numbers.shape[1:]), model.signature.input
    if (
        found != spec.shape[1:]
        or numbers.dtype != np.dtype(spec.dtype)
        or isinstance(x, Table) != wants_categories
    ):
        raise ModelPackageError(
            f"model {model.version} takes {spec.dtype} {spec.shape[1:]}, the data is {numbers.dtype} {found}"
            + (" with categories" if isinstance(x, Table) else "")
        )


def _read(unit: EvaluateUnit, store: ObjectStore) -> tuple[Inputs, np.ndarray]:
    """Rows and labels of the shard, which must be the bytes that the manifest names."""
    place = store.uri(unit.shard.key)
    try:
        raw = store.get(unit.shard.key)
    except KeyError as fault:
        raise MissingDataError("is not there", place=place) from fault
    digest = hashlib.sha256(raw).hexdigest()
    if digest != unit.shard.sha256:
        raise MalformedDataError(f"has sha256 {digest}, the manifest says {unit.shard.sha256}", place=place)
    tensors = read_shard(raw, place=place)
    x, y = tensors.get("x"), tensors.get("y")
    if x is None or y is None or not _fit(x, y, unit.shard.rows):
        raise MismatchedDataError(
            f"holds { {name: tensor.shape for name, tensor in tensors.items()} }, "
            f"the manifest says {unit.shard.rows} rows of x and y",
            place=place,
        )
    if x.dtype == np.float32 and x.ndim == 2 and y.dtype in (np.uint8, np.float32):
        return from_tensors(tensors, place=place), y
    if x.dtype == np.uint8 and y.dtype == np.float32 and y.ndim == 3:
        return x, y
    if x.dtype not in (np.uint8, np.int16) or y.dtype != np.uint8:
        raise MismatchedDataError(
            f"holds {x.dtype} inputs and {y.dtype} labels, not uint8 or int16 and uint8", place=place
        )
    return x, y


def _fit(x: np.ndarray, y: np.ndarray, rows: int) -> bool:
    """Whether there is a target for each of `rows` rows: one value, a mask of its size, or the boxes of an image."""
    if not rows or len(x) != rows or len(y) != rows:
        return False
    if y.ndim == 1:
        return True
    wanted = (rows, y.shape[1], BOX_VALUES) if y.dtype == np.float32 else x.shape[:3]
    return y.ndim == 3 and x.ndim > 2 and y.shape == wanted

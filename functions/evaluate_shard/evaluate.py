"""Evaluation of one shard: candidate and champion see the same rows, and what they got right is counted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from time import perf_counter

import numpy as np

from functions.evaluate_shard.boxes import evaluate_boxes
from functions.evaluate_shard.masks import evaluate_masks
from lehr import layout
from lehr.contracts.detection import ShardDetection
from lehr.contracts.evaluation import ClassificationCounts, EvaluateUnit, ShardEvaluation
from lehr.contracts.package import Signature
from lehr.contracts.regression import RegressionCounts, ShardRegression
from lehr.contracts.segmentation import ShardSegmentation
from lehr.errors import MalformedDataError, MismatchedDataError, MissingDataError, ModelPackageError
from lehr.ports import ObjectStore
from lehr.table_difference import WAY_OUT, table_difference
from lehr_runtime.detection import BOX_VALUES
from lehr_runtime.metrics import count_classification, paired
from lehr_runtime.packages import LoadedModel
from lehr_runtime.regression import count_regression
from lehr_runtime.shards import read_shard
from lehr_runtime.tables import Inputs, Table, from_tensors

BATCH_ROWS = 512

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
    x, y = _read(unit, store)
    result: ShardResult
    if y.ndim == 3 and y.dtype == np.float32 and isinstance(x, np.ndarray):
        result = evaluate_boxes(unit.index, candidate, champion, x, y, _check_columns)
    elif y.ndim == 3:
        result = evaluate_masks(unit.index, candidate, champion, _pixels(candidate, champion, x), y)
    elif y.dtype == np.float32:
        result = ShardRegression(
            index=unit.index,
            candidate=_measure_values(candidate, x, y),
            champion=_measure_values(champion, x, y) if champion else None,
        )
    else:
        result = _count(unit, candidate, champion, x, y)
    key = layout.evaluation_part_key(unit.project, unit.run, unit.candidate, unit.champion, unit.index)
    store.put(key, result.to_json(), content_type="application/json")
    return result


def _pixels(candidate: LoadedModel, champion: LoadedModel | None, x: Inputs) -> np.ndarray:
    for model in (candidate, champion):
        if model:
            _check_columns(model, x)
    assert isinstance(x, np.ndarray)  # _read
    return x


def _count(
    unit: EvaluateUnit, candidate: LoadedModel, champion: LoadedModel | None, x: Inputs, y: np.ndarray
) -> ShardEvaluation:
    probabilities, counts = _measure(candidate, x, y)
    result = ShardEvaluation(index=unit.index, candidate=counts)
    if champion:
        others, other_counts = _measure(champion, x, y)
        result = ShardEvaluation(
            index=unit.index,
            candidate=counts,
            champion=other_counts,
            paired=paired(probabilities, others, y),
        )
    return result


def _measure(model: LoadedModel, x: Inputs, y: np.ndarray) -> tuple[np.ndarray, ClassificationCounts]:
    """Probabilities of all rows, batch by batch, and their counts; `seconds` is prediction alone."""
    labels = model.signature.labels
    if len(y) and int(y.max()) >= len(labels):
        raise MismatchedDataError(
            f"the shard has label {int(y.max())}, model {model.version} {len(labels)} labels"
        )
    probabilities, seconds = _predict(model, x)
    return probabilities, count_classification(probabilities, y, len(labels), seconds)


def _measure_values(model: LoadedModel, x: Inputs, y: np.ndarray) -> RegressionCounts:
    if model.signature.labels:
        raise ModelPackageError(f"model {model.version} gives labels, the data has numbers to predict")
    values, seconds = _predict(model, x)
    return count_regression(values, y, seconds)


def _predict(model: LoadedModel, x: Inputs) -> tuple[np.ndarray, float]:
    """What the model gives for all rows, batch by batch, and the seconds that it took."""
    _check_columns(model, x)
    begin = perf_counter()
    batches = [model.predictor.predict(x[row : row + BATCH_ROWS]) for row in range(0, len(x), BATCH_ROWS)]
    seconds = perf_counter() - begin
    return np.concatenate(batches), seconds


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

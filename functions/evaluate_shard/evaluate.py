"""Evaluation of one shard: candidate and champion see the same rows, and what they got right is counted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from time import perf_counter

import numpy as np

from lehr import layout
from lehr.contracts.evaluation import ClassificationCounts, EvaluateUnit, ShardEvaluation
from lehr.errors import MalformedDataError, MismatchedDataError, MissingDataError, ModelPackageError
from lehr.ports import ObjectStore
from lehr_runtime.metrics import count_classification, paired
from lehr_runtime.packages import LoadedModel
from lehr_runtime.shards import read_shard

BATCH_ROWS = 512


def evaluate(
    unit: EvaluateUnit, store: ObjectStore, load: Callable[[str, str], LoadedModel]
) -> ShardEvaluation:
    """Write the unit's ShardEvaluation; `load(project, version)` gives a model.

    Raises ModelPackageError for a model that must not be judged on this data, DataError's children for a
    shard that is not what the manifest says.
    """
    candidate = load(unit.project, unit.candidate)
    champion = load(unit.project, unit.champion) if unit.champion else None
    if champion and champion.signature.labels != candidate.signature.labels:
        raise ModelPackageError(
            f"champion {champion.version} and candidate {candidate.version} have different labels: "
            "the same rows cannot judge both"
        )
    x, y = _read(unit, store)
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
    key = layout.evaluation_part_key(unit.project, unit.run, unit.candidate, unit.champion, unit.index)
    store.put(key, result.to_json(), content_type="application/json")
    return result


def _measure(model: LoadedModel, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ClassificationCounts]:
    """Probabilities of all rows, batch by batch, and their counts; `seconds` is prediction alone."""
    labels = model.signature.labels
    if list(x.shape[1:]) != model.signature.input.shape[1:]:
        raise ModelPackageError(
            f"model {model.version} takes {model.signature.input.shape[1:]}, the data is {list(x.shape[1:])}"
        )
    if len(y) and int(y.max()) >= len(labels):
        raise MismatchedDataError(
            f"the shard has label {int(y.max())}, model {model.version} {len(labels)} labels"
        )
    begin = perf_counter()
    batches = [model.predictor.predict(x[row : row + BATCH_ROWS]) for row in range(0, len(x), BATCH_ROWS)]
    seconds = perf_counter() - begin
    probabilities = np.concatenate(batches)
    return probabilities, count_classification(probabilities, y, len(labels), seconds)


def _read(unit: EvaluateUnit, store: ObjectStore) -> tuple[np.ndarray, np.ndarray]:
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
    if x is None or y is None or y.shape != (unit.shard.rows,) or len(x) != len(y) or not len(y):
        raise MismatchedDataError(
            f"holds { {name: tensor.shape for name, tensor in tensors.items()} }, "
            f"the manifest says {unit.shard.rows} rows of x and y",
            place=place,
        )
    if x.dtype != np.uint8 or y.dtype != np.uint8:
        raise MismatchedDataError(f"holds {x.dtype} inputs and {y.dtype} labels, not uint8", place=place)
    return x, y

"""Evaluation: both models see the rows that the manifest names, and no others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from functions.evaluate_shard import app
from functions.evaluate_shard.evaluate import evaluate
from functions.evaluate_shard.rows import BATCH_ROWS
from lehr import layout
from lehr.contracts.dataset import Shard
from lehr.contracts.evaluation import EvaluateUnit, ShardEvaluation
from lehr.contracts.package import MODEL_FILE, SIGNATURE_FILE
from lehr.contracts.tables import Column
from lehr.errors import MalformedDataError, MismatchedDataError, MissingDataError, ModelPackageError
from lehr_runtime.packages import LoadedModel, load_package
from lehr_runtime.shards import write_shard
from tests import tiny_models, tiny_tables
from tests.fakes import InMemoryObjectStore

KEY = "datasets/mnist/v1/test/shard-00000-of-00001.safetensors"
ROWS = 2 * BATCH_ROWS + 3
Load = Callable[[str, str], LoadedModel]


@pytest.fixture
def store() -> InMemoryObjectStore:
    return InMemoryObjectStore("artifacts")


@pytest.fixture
def load(store: InMemoryObjectStore, tmp_path: Path) -> Load:
    return lambda project, version: load_package(store, project, version, directory=tmp_path, threads=1)


def put_shard(store: InMemoryObjectStore, **tensors: np.ndarray) -> Shard:
    random = np.random.default_rng(1)
    content = {
        "x": random.integers(0, 256, (ROWS, 28, 28), dtype=np.uint8),
        "y": random.integers(0, 10, ROWS, dtype=np.uint8),
    } | tensors
    raw = write_shard(content)
    store.put(KEY, raw)
    return Shard(
        split="test",
        key=KEY,
        rows=ROWS,
        bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        class_counts=[],
    )


def unit(shard: Shard, candidate: str, champion: str | None = None) -> EvaluateUnit:
    return EvaluateUnit(
        project="mnist", run="run-1", index=3, of=4, shard=shard, candidate=candidate, champion=champion
    )


def counted(asked: EvaluateUnit, store: InMemoryObjectStore, load: Load) -> ShardEvaluation:
    result = evaluate(asked, store, load)
    assert isinstance(result, ShardEvaluation)
    return result


def test_a_first_candidate_is_counted_alone(store: InMemoryObjectStore, load: Load) -> None:
    candidate = tiny_models.publish(store, "mnist", tiny_models.files(1))
    result = counted(unit(put_shard(store), candidate), store, load)
    assert (result.candidate.rows, result.champion, result.paired) == (ROWS, None, None)
    assert np.sum(result.candidate.confusion) == ROWS
    key = layout.evaluation_part_key("mnist", "run-1", candidate, None, 3)
    assert ShardEvaluation.from_json(store.objects[key]) == result


def test_candidate_and_champion_are_paired_on_the_same_rows(store: InMemoryObjectStore, load: Load) -> None:
    candidate, champion = (tiny_models.publish(store, "mnist", tiny_models.files(seed)) for seed in (1, 2))
    result = counted(unit(put_shard(store), candidate, champion), store, load)
    assert result.champion is not None
    assert result.paired is not None
    pairs = result.paired
    assert pairs.both + pairs.only_candidate == np.trace(result.candidate.confusion)
    assert pairs.both + pairs.only_champion == np.trace(result.champion.confusion)
    assert pairs.both + pairs.only_candidate + pairs.only_champion + pairs.neither == ROWS
    assert layout.evaluation_part_key("mnist", "run-1", candidate, champion, 3) in store.objects
    sha256 = hashlib.sha256(store.objects[KEY]).hexdigest()
    assert (result.shard_sha256, result.candidate_version, result.champion_version) == (
        sha256,
        candidate,
        champion,
    )


def test_a_champion_of_another_sample_rate_is_refused() -> None:
    models: dict[str, Any] = {
        name: SimpleNamespace(
            version=name, signature=msgspec.structs.replace(tiny_models.signature(), sample_rate=rate)
        )
        for name, rate in (("new", 16_000), ("old", 8_000))
    }
    shard = Shard(split="test", key=KEY, rows=1, bytes=1, sha256="", class_counts=[])
    with pytest.raises(ModelPackageError, match=r"sound of 8000 Hz.*16000 Hz.*project\.name"):
        evaluate(unit(shard, "new", "old"), InMemoryObjectStore(), lambda project, version: models[version])


def test_batches_give_what_one_batch_gives(store: InMemoryObjectStore, load: Load) -> None:
    candidate = tiny_models.publish(store, "mnist", tiny_models.files(1))
    x = np.random.default_rng(1).integers(0, 256, (ROWS, 28, 28), dtype=np.uint8)
    model = load("mnist", candidate)
    y = model.predictor.predict(x).argmax(axis=1).astype(np.uint8)
    result = counted(unit(put_shard(store, x=x, y=y), candidate), store, load)
    assert np.trace(result.candidate.confusion) == ROWS


def test_a_shard_that_is_not_the_manifests_is_refused(store: InMemoryObjectStore, load: Load) -> None:
    candidate = tiny_models.publish(store, "mnist", tiny_models.files(1))
    shard = put_shard(store)
    store.put(KEY, store.objects[KEY][:-1] + b"\x09")
    with pytest.raises(MalformedDataError, match=KEY):
        evaluate(unit(shard, candidate), store, load)


def test_an_absent_shard_is_missing(store: InMemoryObjectStore, load: Load) -> None:
    candidate = tiny_models.publish(store, "mnist", tiny_models.files(1))
    shard = put_shard(store)
    del store.objects[KEY]
    with pytest.raises(MissingDataError, match=KEY):
        evaluate(unit(shard, candidate), store, load)


@pytest.mark.parametrize(
    ("tensors", "error"),
    [
        ({"y": np.zeros(ROWS - 1, np.uint8)}, MismatchedDataError),
        ({"x": np.zeros((ROWS - 1, 28, 28), np.uint8)}, MismatchedDataError),
        ({"x": np.zeros((ROWS, 28, 28), np.float32)}, MismatchedDataError),
        ({"y": np.zeros(ROWS, np.int64)}, MismatchedDataError),
        ({"y": np.full(ROWS, 10, np.uint8)}, MismatchedDataError),
        ({"x": np.zeros((ROWS, 14, 56), np.uint8)}, ModelPackageError),
    ],
)
def test_a_shard_that_does_not_fit_is_refused(
    tensors: dict[str, np.ndarray], error: type[Exception], store: InMemoryObjectStore, load: Load
) -> None:
    candidate = tiny_models.publish(store, "mnist", tiny_models.files(1))
    with pytest.raises(error):
        evaluate(unit(put_shard(store, **tensors), candidate), store, load)


def test_models_of_different_labels_are_not_compared(store: InMemoryObjectStore, load: Load) -> None:
    candidate = tiny_models.publish(store, "mnist", tiny_models.files(1))
    renamed = msgspec.structs.replace(tiny_models.signature(), labels=[f"digit {n}" for n in range(10)])
    champion = tiny_models.publish(store, "mnist", tiny_models.files(2) | {SIGNATURE_FILE: renamed.to_json()})
    with pytest.raises(ModelPackageError, match="different labels"):
        evaluate(unit(put_shard(store), candidate, champion), store, load)


def test_a_candidate_that_gives_nan_is_refused(store: InMemoryObjectStore, load: Load) -> None:
    weights = tiny_models.weights()
    weights[:, 0] = np.inf
    files = tiny_models.files() | {MODEL_FILE: tiny_models.graph(weights).SerializeToString()}
    with pytest.raises(ModelPackageError, match="NaN"):
        evaluate(unit(put_shard(store), tiny_models.publish(store, "mnist", files)), store, load)


def test_the_handler_answers_with_index_and_rows(
    store: InMemoryObjectStore, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "dependencies", lambda: (store, load))
    candidate = tiny_models.publish(store, "mnist", tiny_models.files(1))
    context = SimpleNamespace(
        function_name="f", memory_limit_in_mb=1, invoked_function_arn="arn", aws_request_id="id"
    )
    answer = app.handler(unit(put_shard(store), candidate).to_value(), context)
    assert answer == {"index": 3, "rows": ROWS}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"columns": [*tiny_tables.COLUMNS[:2], Column(name="hour", kind="category")]}, "the columns hour:"),
        ({"columns": tiny_tables.COLUMNS[:2]}, "the columns hour:"),
        ({"columns": tiny_tables.COLUMNS[::-1]}, "the order of their columns"),
        ({"missing": ["", "NA", "?"]}, "missing values"),
        ({"target": "fare"}, "their target, fare and price"),
    ],
)
def test_a_champion_of_other_columns_is_refused_by_their_names(changes: dict[str, Any], said: str) -> None:
    candidate = tiny_tables.signature([], has_categories=True)
    assert candidate.of_table
    table = msgspec.structs.replace(candidate.of_table, **changes)
    models: dict[str, Any] = {
        "new": SimpleNamespace(version="new", signature=candidate),
        "old": SimpleNamespace(version="old", signature=msgspec.structs.replace(candidate, table=table)),
    }
    shard = Shard(split="test", key=KEY, rows=1, bytes=1, sha256="", class_counts=[])
    with pytest.raises(ModelPackageError, match=rf"{said}.*data\.columns.*project\.name"):
        evaluate(unit(shard, "new", "old"), InMemoryObjectStore(), lambda project, version: models[version])

"""What is published beside the trained graph: golden rows always, the optimised graph if it gives the same answers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from aws_lambda_powertools import Logger
from onnx import helper

from functions.package_model import serving
from functions.package_model.serving import prepare_serving, read_rows
from lehr import layout
from lehr.contracts.dataset import DatasetManifest, Shard
from lehr.contracts.package import GOLDEN_FILE, MODEL_FILE, SIGNATURE_FILE, serving_file
from lehr.errors import DataError, ModelPackageError
from lehr_runtime.golden import MAX_GOLDEN_ROWS, read_golden
from lehr_runtime.packages import load_package
from lehr_runtime.session import runtime_of_this_process
from lehr_runtime.shards import write_shard
from tests import tiny_models as models
from tests.fakes import InMemoryObjectStore

ROWS = np.random.default_rng(3).integers(0, 256, (8, 28, 28), dtype=np.uint8)
SERVING = serving_file(*runtime_of_this_process())
MODELS = {
    "matrix": models.graph(models.weights()).SerializeToString(),
    "convolutional": models.convolutional().SerializeToString(),
}


def trained(kind: str) -> dict[str, bytes]:
    return {MODEL_FILE: MODELS[kind], SIGNATURE_FILE: models.signature().to_json()}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("is_large", [False, True])
def test_what_is_published_is_what_the_endpoint_opens(
    kind: str, is_large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of a small graph are in it, those of a large one beside it."""
    monkeypatch.setattr(serving, "EXTERNAL_OVER_BYTES", 1000 if is_large else 1 << 20)
    files = prepare_serving(trained(kind), ROWS, Logger())
    assert set(files) == {GOLDEN_FILE, SERVING} | ({f"{SERVING}.data"} if is_large else set())
    store = InMemoryObjectStore()
    version = models.publish(store, "mnist", trained(kind) | files)
    model = load_package(store, "mnist", version, directory=tmp_path, threads=1)
    assert (model.graph, model.reason) == ("serving", "")
    golden = read_golden(files[GOLDEN_FILE], place="g")
    assert isinstance(golden.x, np.ndarray)
    assert np.array_equal(golden.x, ROWS)
    np.testing.assert_allclose(model.predictor.predict(ROWS), golden.y, atol=1e-5)


def test_the_same_model_gives_the_same_files() -> None:
    first, second = (prepare_serving(trained("convolutional"), ROWS, Logger()) for _ in range(2))
    assert first == second


def test_an_optimised_graph_that_differs_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = serving._answers

    def off(path: Path, *arguments: object, is_optimised: bool = False) -> np.ndarray:
        found = answers(path, *arguments, is_optimised=is_optimised)  # type: ignore[arg-type]
        return found + (2e-5 if is_optimised else 0)

    monkeypatch.setattr(serving, "_answers", off)
    assert set(prepare_serving(trained("matrix"), ROWS, Logger())) == {GOLDEN_FILE}


def test_an_optimised_graph_that_gives_another_label_is_not_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    even = np.full((8, 10), 0.1, np.float32)
    other = even.copy()
    other[0, 7] += 1e-6
    monkeypatch.setattr(serving, "_answers", lambda *_, is_optimised=False: other if is_optimised else even)
    assert set(prepare_serving(trained("matrix"), ROWS, Logger())) == {GOLDEN_FILE}


def test_a_graph_that_the_endpoint_would_refuse_is_refused_before_it_is_judged() -> None:
    model = models.graph(models.weights())
    model.graph.node.append(helper.make_node("Evil", ["x"], ["z"], domain="evil.example"))
    files = trained("matrix") | {MODEL_FILE: model.SerializeToString()}
    with pytest.raises(ModelPackageError, match="evil"):
        prepare_serving(files, ROWS, Logger())
    with pytest.raises(ModelPackageError, match=SIGNATURE_FILE):
        prepare_serving(trained("matrix") | {SIGNATURE_FILE: b"{}"}, ROWS, Logger())
    with pytest.raises(ModelPackageError, match=MODEL_FILE):
        prepare_serving(trained("matrix"), ROWS[:, :27], Logger())


def dataset(x: np.ndarray, *, split: str = "test") -> InMemoryObjectStore:
    raw = write_shard({"x": x, "y": np.zeros(len(x), np.uint8)})
    shard = Shard(
        split=split,  # type: ignore[arg-type]
        key="shards/0",
        rows=len(x),
        bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        class_counts=[len(x)],
    )
    manifest = DatasetManifest(
        project="mnist",
        format="idx",
        input_shape=[28, 28],
        input_dtype="uint8",
        labels=["0"],
        shards=[shard],
        mean=0.0,
        std=1.0,
        raw=[],
        seed=1,
        validation_fraction=0.1,
    )
    store = InMemoryObjectStore("artifacts")
    store.put(layout.dataset_manifest_key("mnist", "d1"), manifest.to_json())
    store.put(layout.datasets_prefix("mnist") + "shards/0", raw)
    return store


@pytest.mark.parametrize(("rows", "taken"), [(1, 1), (5, 5), (1000, MAX_GOLDEN_ROWS)])
def test_rows_are_spread_over_the_first_test_shard(rows: int, taken: int) -> None:
    x = np.arange(rows, dtype=np.uint32).view(np.uint8).reshape(rows, 2, 2)
    found = read_rows("mnist", "d1", dataset(x))
    assert isinstance(found, np.ndarray)
    assert len(found) == taken
    assert np.array_equal(found[0], x[0])
    assert np.array_equal(found[-1], x[-1])


def test_rows_too_large_to_take_eight_of_are_fewer() -> None:
    found = read_rows("mnist", "d1", dataset(np.zeros((9, 1200, 1200), np.uint8)))
    assert 1 <= len(found) < MAX_GOLDEN_ROWS


def test_a_dataset_that_is_not_what_its_manifest_says_gives_no_rows() -> None:
    store = dataset(ROWS)
    store.put(layout.datasets_prefix("mnist") + "shards/0", b"other")
    with pytest.raises(DataError, match="not what the manifest says"):
        read_rows("mnist", "d1", store)
    with pytest.raises(DataError, match="no test shard"):
        read_rows("mnist", "d1", dataset(ROWS, split="train"))
    with pytest.raises(DataError, match="no rows"):
        read_rows("mnist", "d1", dataset(ROWS[:0]))

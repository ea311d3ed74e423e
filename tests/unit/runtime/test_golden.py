"""Golden rows: a graph shows that it computes what was trained before it answers anybody."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from lehr.contracts.package import (
    GOLDEN_FILE,
    INT8_FILE,
    MODEL_FILE,
    PACKAGE_FILE,
    SIGNATURE_FILE,
    WEIGHTS_FILE,
    serving_file,
)
from lehr.errors import ModelPackageError
from lehr_runtime.golden import TOLERANCE, Golden, check_golden, read_golden, write_golden
from lehr_runtime.packages import LoadedModel, load_package
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import open_session, runtime_of_this_process, save_optimised
from lehr_runtime.shards import write_shard
from tests import tiny_models as models
from tests.fakes import InMemoryObjectStore

ROWS = np.random.default_rng(7).integers(0, 256, (4, 28, 28), dtype=np.uint8)
SERVING = serving_file(*runtime_of_this_process())


def predictor_of(raw: bytes, folder: Path) -> Predictor:
    (folder / MODEL_FILE).write_bytes(raw)
    return Predictor(open_session(folder / MODEL_FILE, threads=1), models.signature())


def complete(folder: Path, seed: int = 0) -> dict[str, bytes]:
    """A package with golden rows and an optimised graph, as package_model publishes it."""
    content = {
        MODEL_FILE: models.convolutional(seed).SerializeToString(),
        SIGNATURE_FILE: models.signature().to_json(),
    }
    golden = Golden(ROWS, predictor_of(content[MODEL_FILE], folder).predict(ROWS))
    save_optimised(folder / MODEL_FILE, folder / SERVING, data_name=f"{SERVING}.data")
    return content | {
        WEIGHTS_FILE: b"never read",
        GOLDEN_FILE: write_golden(golden),
        SERVING: (folder / SERVING).read_bytes(),
        f"{SERVING}.data": (folder / f"{SERVING}.data").read_bytes(),
    }


def load(content: dict[str, bytes], folder: Path) -> tuple[LoadedModel, set[str]]:
    """The model, and the files that were fetched for it."""
    store = InMemoryObjectStore()
    version = models.publish(store, "mnist", content)
    store.reads.clear()
    model = load_package(store, "mnist", version, directory=folder / "models", threads=1)
    assert not list((folder / "models").iterdir())
    return model, {key.rsplit("/", 1)[1] for key in store.reads}


def test_the_optimised_graph_answers_and_the_portable_one_is_not_even_fetched(tmp_path: Path) -> None:
    content = complete(tmp_path)
    model, fetched = load(content, tmp_path)
    assert (model.graph, model.reason) == ("serving", "")
    assert fetched == {PACKAGE_FILE, SIGNATURE_FILE, GOLDEN_FILE, SERVING, f"{SERVING}.data"}
    expected = predictor_of(content[MODEL_FILE], tmp_path).predict(ROWS)
    np.testing.assert_allclose(model.predictor.predict(ROWS), expected, atol=1e-5)


@pytest.mark.parametrize("other", [("sparc", "1.32.0"), (runtime_of_this_process()[0], "0.0.1")])
def test_on_another_processor_or_runtime_the_portable_graph_answers(
    other: tuple[str, str], tmp_path: Path
) -> None:
    renamed = {name.replace(SERVING, serving_file(*other)): raw for name, raw in complete(tmp_path).items()}
    model, fetched = load(renamed, tmp_path)
    assert model.graph == "portable"
    assert SERVING in model.reason
    assert fetched == {PACKAGE_FILE, SIGNATURE_FILE, GOLDEN_FILE, MODEL_FILE}


def test_an_optimised_graph_that_answers_otherwise_is_left_for_the_portable_one(tmp_path: Path) -> None:
    """As one would whose weights are laid out for another processor."""
    content = complete(tmp_path)
    data = np.frombuffer(content[f"{SERVING}.data"], np.float32).copy()
    data *= 1.5
    model, _ = load(content | {f"{SERVING}.data": data.tobytes()}, tmp_path)
    assert model.graph == "portable"
    assert "golden rows" in model.reason


@pytest.mark.parametrize(
    "raw", [b"", b"no graph", models.graph(models.weights(), batch=1).SerializeToString()]
)
def test_an_optimised_graph_that_cannot_be_opened_is_left_for_the_portable_one(
    raw: bytes, tmp_path: Path
) -> None:
    model, _ = load(complete(tmp_path) | {SERVING: raw}, tmp_path)
    assert model.graph == "portable"
    assert model.reason


def test_an_optimised_graph_without_golden_rows_proves_nothing(tmp_path: Path) -> None:
    content = complete(tmp_path)
    del content[GOLDEN_FILE]
    model, fetched = load(content, tmp_path)
    assert (model.graph, SERVING in fetched) == ("portable", False)


def test_changed_bytes_of_the_optimised_graph_are_an_error_and_no_reason_to_fall_back(tmp_path: Path) -> None:
    store = InMemoryObjectStore()
    version = models.publish(store, "mnist", complete(tmp_path))
    key = f"models/mnist/{version}/{SERVING}.data"
    store.put(key, store.objects[key][:-1] + b"\x01")
    with pytest.raises(ModelPackageError, match="sha256"):
        load_package(store, "mnist", version, directory=tmp_path / "models", threads=1)


def test_a_portable_graph_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    content = complete(tmp_path, seed=1)
    content[MODEL_FILE] = models.convolutional(2).SerializeToString()
    del content[SERVING], content[f"{SERVING}.data"]
    with pytest.raises(ModelPackageError, match="golden rows"):
        load(content, tmp_path)


def test_a_difference_is_measured_against_the_tolerance(tmp_path: Path) -> None:
    predictor = predictor_of(models.graph(models.weights()).SerializeToString(), tmp_path)
    y = predictor.predict(ROWS)
    assert check_golden(predictor, Golden(ROWS, y), place="g") == 0
    nearly = y.copy()
    nearly[2, 3] += TOLERANCE / 2
    assert check_golden(predictor, Golden(ROWS, nearly), place="g") == pytest.approx(TOLERANCE / 2, rel=0.01)
    nearly[2, 3] += TOLERANCE
    with pytest.raises(ModelPackageError, match=r"g: differs by 1\.50e-04"):
        check_golden(predictor, Golden(ROWS, nearly), place="g")
    nearly[2, 3] = np.nan
    with pytest.raises(ModelPackageError, match="differs by nan"):
        check_golden(predictor, Golden(ROWS, nearly), place="g")


def test_eight_bits_may_differ_by_a_step_of_theirs_from_one_processor_to_another(tmp_path: Path) -> None:
    content = complete(tmp_path)
    content = {name: content[name] for name in (MODEL_FILE, SIGNATURE_FILE, GOLDEN_FILE)}
    golden = read_golden(content[GOLDEN_FILE], place="g")
    nearly = golden.y.copy()
    nearly[:, 0] += 5e-3
    content[GOLDEN_FILE] = write_golden(Golden(golden.x, nearly))
    with pytest.raises(ModelPackageError, match="more than 1e-04"):
        load(content, tmp_path)
    content[INT8_FILE] = content[MODEL_FILE]
    content[SIGNATURE_FILE] = msgspec.structs.replace(models.signature(), graph=INT8_FILE).to_json()
    assert load(content, tmp_path)[0].signature.graph == INT8_FILE
    nearly[:, 0] += 5e-2
    content[GOLDEN_FILE] = write_golden(Golden(golden.x, nearly))
    with pytest.raises(ModelPackageError, match="more than 2e-02"):
        load(content, tmp_path)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (ROWS[:, :27], np.zeros((4, 10), np.float32)),
        (ROWS.astype(np.float32), np.zeros((4, 10), np.float32)),
        (ROWS, np.zeros((4, 9), np.float32)),
        (ROWS, np.zeros(4, np.float32)),
    ],
)
def test_golden_rows_of_another_model_are_refused(x: np.ndarray, y: np.ndarray, tmp_path: Path) -> None:
    predictor = predictor_of(models.graph(models.weights()).SerializeToString(), tmp_path)
    with pytest.raises(ModelPackageError, match="golden rows"):
        check_golden(predictor, Golden(x, y), place="g")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x80\x04pickle",
        write_shard({"x": ROWS}),
        write_shard({"x": ROWS, "y": np.zeros((4, 10))}),
        write_shard({"x": ROWS, "y": np.zeros((3, 10), np.float32)}),
        write_shard({"x": ROWS[:0], "y": np.zeros((0, 10), np.float32)}),
        write_shard({"x": np.array(1, np.uint8), "y": np.zeros((1, 10), np.float32)}),
    ],
)
def test_a_file_of_no_golden_rows_is_refused(raw: bytes) -> None:
    with pytest.raises(ModelPackageError, match="g"):
        read_golden(raw, place="g")


def test_golden_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    golden = Golden(ROWS, np.random.default_rng(0).random((4, 10), np.float32))
    found = read_golden(write_golden(golden), place="g")
    assert isinstance(found.x, np.ndarray)
    assert np.array_equal(found.x, ROWS)
    assert np.array_equal(found.y, golden.y)

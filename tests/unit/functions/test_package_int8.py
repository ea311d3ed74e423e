"""The int8 graph in a package: beside the float32 one, and where the signature names it, the one that answers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from aws_lambda_powertools import Logger

from functions.package_model.serving import prepare_serving
from lehr.contracts.package import (
    GOLDEN_FILE,
    INT8_FILE,
    MODEL_FILE,
    PACKAGE_FILE,
    SIGNATURE_FILE,
    serving_file,
)
from lehr.errors import ModelPackageError
from lehr.model_archive import read_archive
from lehr_runtime.golden import read_golden
from lehr_runtime.packages import LoadedModel, load_package
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import open_session, runtime_of_this_process
from lehr_trainer.quantise import write_int8
from tests import tiny_models as models
from tests.fakes import InMemoryObjectStore
from tests.unit.functions.test_package_model import packed
from tests.unit.functions.test_package_model import trained as trained_files

ROWS = np.random.default_rng(3).integers(0, 256, (8, 28, 28), dtype=np.uint8)
SERVING = serving_file(*runtime_of_this_process())
GRAPHS = {"matrix": models.graph(models.weights()), "convolutional": models.convolutional()}


def trained(folder: Path, kind: str, *, graph: str = INT8_FILE) -> dict[str, bytes]:
    """What a training leaves that was asked for int8 (or not, with another `graph`), and has made it."""
    write_int8(GRAPHS[kind], folder / INT8_FILE, ROWS)
    return {
        MODEL_FILE: GRAPHS[kind].SerializeToString(),
        INT8_FILE: (folder / INT8_FILE).read_bytes(),
        SIGNATURE_FILE: msgspec.structs.replace(models.signature(), graph=graph).to_json(),
    }


def answers(folder: Path, raw: bytes) -> np.ndarray:
    (folder / "one.onnx").write_bytes(raw)
    return Predictor(open_session(folder / "one.onnx", threads=1), models.signature()).predict(ROWS)


def load(content: dict[str, bytes], folder: Path) -> tuple[LoadedModel, set[str]]:
    """The model, and the files that were fetched for it."""
    store = InMemoryObjectStore()
    version = models.publish(store, "mnist", content)
    store.reads.clear()
    model = load_package(store, "mnist", version, directory=folder / "models", threads=1)
    return model, {key.rsplit("/", 1)[1] for key in store.reads}


@pytest.mark.parametrize("kind", GRAPHS)
def test_the_graph_that_the_signature_names_answers_and_the_other_is_not_fetched(
    tmp_path: Path, kind: str
) -> None:
    files = trained(tmp_path, kind)
    exact, int8 = (answers(tmp_path, files[name]) for name in (MODEL_FILE, INT8_FILE))
    assert np.abs(exact - int8).max() > 1e-6, "they can be told apart"
    published = files | prepare_serving(files, ROWS, Logger())
    golden = read_golden(published[GOLDEN_FILE], place="g")
    np.testing.assert_array_equal(golden.y, int8)
    model, fetched = load(published, tmp_path)
    assert model.graph == "serving", model.reason
    assert fetched == {PACKAGE_FILE, SIGNATURE_FILE, GOLDEN_FILE, SERVING}
    np.testing.assert_allclose(model.predictor.predict(ROWS), int8, atol=1e-5)

    del published[SERVING]
    model, fetched = load(published, tmp_path)
    assert model.graph == "portable"
    assert fetched == {PACKAGE_FILE, SIGNATURE_FILE, GOLDEN_FILE, INT8_FILE}
    np.testing.assert_allclose(model.predictor.predict(ROWS), int8, atol=1e-5)


@pytest.mark.parametrize("kind", GRAPHS)
def test_an_int8_graph_that_nobody_asked_for_is_published_and_costs_a_start_nothing(
    tmp_path: Path, kind: str
) -> None:
    files = trained(tmp_path, kind, graph=MODEL_FILE)
    beside = files | prepare_serving(files, ROWS, Logger())
    without = {name: raw for name, raw in files.items() if name != INT8_FILE}
    assert prepare_serving(without, ROWS, Logger()).items() <= beside.items()
    model, fetched = load(beside, tmp_path)
    assert INT8_FILE not in fetched
    np.testing.assert_allclose(model.predictor.predict(ROWS), answers(tmp_path, files[MODEL_FILE]), atol=1e-5)


def test_a_signature_that_names_a_graph_which_is_not_there_is_refused(tmp_path: Path) -> None:
    files = trained(tmp_path, "matrix")
    del files[INT8_FILE]
    with pytest.raises(ModelPackageError, match=r"signature\.json names model\.int8\.onnx"):
        prepare_serving(files, ROWS, Logger())


def test_an_int8_graph_that_the_endpoint_would_refuse_is_refused_even_beside(tmp_path: Path) -> None:
    files = trained(tmp_path, "matrix", graph=MODEL_FILE)
    evil = onnx.load_from_string(files[INT8_FILE])
    evil.graph.node.append(onnx.helper.make_node("Evil", ["x"], ["z"], domain="evil.example"))
    with pytest.raises(ModelPackageError, match=r"model\.int8\.onnx: the operator 'Evil'"):
        prepare_serving(files | {INT8_FILE: evil.SerializeToString()}, ROWS, Logger())


def test_the_archive_may_hold_one_and_need_not() -> None:
    files = trained_files()
    assert read_archive(packed(files), place="p") == files
    more = files | {INT8_FILE: b"int8"}
    assert read_archive(packed(more | {"else.bin": b"x"}), place="p") == more

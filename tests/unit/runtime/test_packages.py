"""A package is loaded exactly as it was published, or not at all, and the error names the file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from lehr import layout
from lehr.contracts.package import MODEL_FILE, PACKAGE_FILE, SIGNATURE_FILE
from lehr.errors import ModelPackageError
from lehr_runtime.package_files import MAX_MODEL_BYTES
from lehr_runtime.packages import LoadedModel, load_package
from tests import tiny_models as models
from tests.fakes import InMemoryObjectStore


def load(store: InMemoryObjectStore, version: str, folder: Path) -> LoadedModel:
    return load_package(store, "mnist", version, directory=folder, threads=1)


def test_a_published_package_is_loaded_and_answers(tmp_path: Path) -> None:
    store = InMemoryObjectStore()
    version = models.publish(store, "mnist", models.files())
    model = load(store, version, tmp_path)
    assert (model.version, model.signature.labels) == (version, models.LABELS)
    assert model.predictor.predict(np.zeros((2, 28, 28), np.uint8)).shape == (2, 10)


def test_external_weights_are_loaded_and_the_disk_is_left_empty(tmp_path: Path) -> None:
    store = InMemoryObjectStore()
    (tmp_path / "work").mkdir()
    whole = models.publish(store, "mnist", models.files(4))
    apart = models.publish(store, "mnist", models.files(4, external=tmp_path / "work"))
    x = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    answers = [
        load(store, version, tmp_path / "models").predictor.predict(x) for version in (whole, apart, apart)
    ]
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(answers[1], answers[2])
    assert not list((tmp_path / "models").iterdir())


def test_files_that_serving_does_not_need_are_not_fetched(tmp_path: Path) -> None:
    store = InMemoryObjectStore()
    version = models.publish(store, "mnist", {**models.files(), "training.json": b"{}"})
    store.reads.clear()
    load(store, version, tmp_path)
    assert {key.rsplit("/", 1)[1] for key in store.reads} == {PACKAGE_FILE, SIGNATURE_FILE, MODEL_FILE}


@pytest.mark.parametrize("name", [PACKAGE_FILE, SIGNATURE_FILE, MODEL_FILE])
def test_an_absent_file_is_named(name: str, tmp_path: Path) -> None:
    store = InMemoryObjectStore()
    version = models.publish(store, "mnist", models.files())
    del store.objects[layout.model_file_key("mnist", version, name)]
    with pytest.raises(ModelPackageError, match=name):
        load(store, version, tmp_path)


@pytest.mark.parametrize("name", [SIGNATURE_FILE, MODEL_FILE])
@pytest.mark.parametrize("change", ["flipped", "longer", "shorter", "empty"])
def test_a_changed_file_is_never_opened(name: str, change: str, tmp_path: Path) -> None:
    store = InMemoryObjectStore()
    version = models.publish(store, "mnist", models.files())
    key = layout.model_file_key("mnist", version, name)
    raw = store.objects[key]
    store.objects[key] = {
        "flipped": raw[:-1] + bytes([raw[-1] ^ 1]),
        "longer": raw + b" ",
        "shorter": raw[:-1],
        "empty": b"",
    }[change]
    with pytest.raises(ModelPackageError, match=name):
        load(store, version, tmp_path)


def test_a_package_under_the_version_of_another_is_refused(tmp_path: Path) -> None:
    store = InMemoryObjectStore()
    first = models.publish(store, "mnist", models.files(1))
    second = models.publish(store, "mnist", models.files(2))
    target = layout.model_file_key("mnist", first, PACKAGE_FILE)
    store.copy(layout.model_file_key("mnist", second, PACKAGE_FILE), target)
    with pytest.raises(ModelPackageError, match=second):
        load(store, first, tmp_path)


def test_a_package_of_another_project_is_refused(tmp_path: Path) -> None:
    store = InMemoryObjectStore()
    content = models.files()
    version = models.package_of("other", content).version
    for name, raw in {**content, PACKAGE_FILE: models.package_of("other", content).to_json()}.items():
        store.put(layout.model_file_key("mnist", version, name), raw)
    with pytest.raises(ModelPackageError, match="other"):
        load(store, version, tmp_path)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/b", "", ".hidden", "a\nb", "é"])
def test_a_file_name_that_is_not_flat_is_refused(name: str, tmp_path: Path) -> None:
    store = InMemoryObjectStore()
    version = models.publish(store, "mnist", {**models.files(), name: b"x"})
    with pytest.raises(ModelPackageError, match="names a file"):
        load(store, version, tmp_path)


@pytest.mark.parametrize("missing", [SIGNATURE_FILE, MODEL_FILE])
def test_a_package_without_a_needed_file_is_refused(missing: str, tmp_path: Path) -> None:
    store = InMemoryObjectStore()
    content = {name: raw for name, raw in models.files().items() if name != missing}
    with pytest.raises(ModelPackageError, match=missing):
        load(store, models.publish(store, "mnist", content), tmp_path)


def test_a_model_that_is_too_large_is_not_fetched(tmp_path: Path) -> None:
    store = InMemoryObjectStore()
    package = models.package_of("mnist", models.files())
    huge = msgspec.structs.replace(package.files[MODEL_FILE], bytes=MAX_MODEL_BYTES + 1)
    package = msgspec.structs.replace(package, files={**package.files, MODEL_FILE: huge})
    models.publish(store, "mnist", models.files())
    for name, raw in {**models.files(), PACKAGE_FILE: package.to_json()}.items():
        store.put(layout.model_file_key("mnist", package.version, name), raw)
    store.reads.clear()
    with pytest.raises(ModelPackageError, match="more than"):
        load(store, package.version, tmp_path)
    assert not any(key.endswith(MODEL_FILE) for key in store.reads)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"[" * 100_000, b"\xff"])
def test_a_document_that_is_none_is_refused(raw: bytes, tmp_path: Path) -> None:
    store = InMemoryObjectStore()
    version = models.publish(store, "mnist", {**models.files(), SIGNATURE_FILE: raw})
    with pytest.raises(ModelPackageError, match=SIGNATURE_FILE):
        load(store, version, tmp_path)
    store.put(layout.model_file_key("mnist", version, PACKAGE_FILE), raw)
    with pytest.raises(ModelPackageError, match=PACKAGE_FILE):
        load(store, version, tmp_path)


def test_a_model_that_answers_nan_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    weights = models.weights()
    weights[0, 0] = np.nan
    content = {**models.files(), MODEL_FILE: models.graph(weights).SerializeToString()}
    store = InMemoryObjectStore()
    with pytest.raises(ModelPackageError, match="NaN"):
        load(store, models.publish(store, "mnist", content), tmp_path)

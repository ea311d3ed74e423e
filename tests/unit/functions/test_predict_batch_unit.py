"""PredictBatchUnit: one line for each row, in order, or the reason why a file is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from functions.predict_batch_unit import read
from functions.predict_batch_unit.predict import BATCH_ROWS, predict_unit
from functions.predict_batch_unit.read import MAX_FILE_BYTES
from lehr.contracts.batch_prediction import BatchUnit, BatchUnitResult
from lehr.contracts.dataset import ObjectRef
from lehr.errors import ContractError, ModelPackageError
from lehr.layout import batch_part_key, batch_unit_key
from lehr_runtime.packages import LoadedModel, load_package
from lehr_runtime.shards import write_shard
from tests import tiny_models
from tests.e2e.small_mnist import encode_idx
from tests.fakes import InMemoryObjectStore

KEY = "batches/mnist/rows"
X = np.random.default_rng(3).integers(0, 256, (BATCH_ROWS + 5, 28, 28), dtype=np.uint8)
Load = Callable[[str, str], LoadedModel]


@pytest.fixture
def data() -> InMemoryObjectStore:
    return InMemoryObjectStore("data")


@pytest.fixture
def artifacts() -> InMemoryObjectStore:
    return InMemoryObjectStore("artifacts")


@pytest.fixture
def load(artifacts: InMemoryObjectStore, tmp_path: Path) -> Load:
    return lambda project, version: load_package(artifacts, project, version, directory=tmp_path, threads=1)


@pytest.fixture
def version(artifacts: InMemoryObjectStore) -> str:
    return tiny_models.publish(artifacts, "mnist", tiny_models.files(1))


def unit(data: InMemoryObjectStore, version: str, body: bytes, **changes: Any) -> BatchUnit:
    data.put(KEY, body)
    source = ObjectRef(bucket="data", key=KEY, etag=data.etag(KEY), bytes=len(body))
    whole = BatchUnit(
        project="mnist", batch="b1", model_version=version, index=3, source=source, first=0, count=0
    )
    return msgspec.structs.replace(whole, **changes)


def csv(x: np.ndarray) -> bytes:
    return "\n".join(",".join(map(str, row)) for row in x.reshape(len(x), -1).tolist()).encode()


def lines(artifacts: InMemoryObjectStore) -> list[dict[str, Any]]:
    return [json.loads(line) for line in artifacts.objects[batch_part_key("mnist", "b1", 3)].splitlines()]


BODIES = {
    "idx": encode_idx(X),
    "plain idx": gzip.decompress(encode_idx(X)),
    "safetensors": write_shard({"x": X, "y": np.zeros(len(X), dtype=np.uint8)}),
    "csv": csv(X),
    "csv of a spreadsheet": b"\xef\xbb\xbf" + csv(X).replace(b"\n", b"\r\n") + b"\r\n",
}


@pytest.mark.parametrize("name", BODIES)
def test_every_row_has_the_label_that_the_model_gives_it(
    data: InMemoryObjectStore, artifacts: InMemoryObjectStore, load: Load, version: str, name: str
) -> None:
    result = predict_unit(unit(data, version, BODIES[name]), data, artifacts, load)
    assert (result.rows, result.refused) == (len(X), "")
    found = lines(artifacts)
    probabilities = load("mnist", version).predictor.predict(X)
    best = probabilities.argmax(axis=1)
    assert [line["label"] for line in found] == [str(label) for label in best.tolist()]
    assert [line["probability"] for line in found] == pytest.approx(probabilities.max(axis=1).tolist())
    assert [line["row"] for line in found] == list(range(len(X)))
    assert {(line["key"], line["model_version"]) for line in found} == {(KEY, version)}
    assert result.bytes == len(artifacts.objects[batch_part_key("mnist", "b1", 3)])
    assert BatchUnitResult.from_json(artifacts.objects[batch_unit_key("mnist", "b1", 3)]) == result


def test_a_unit_has_the_rows_of_its_part_of_the_file(
    data: InMemoryObjectStore, artifacts: InMemoryObjectStore, load: Load, version: str
) -> None:
    part = unit(data, version, BODIES["idx"], first=100, count=3)
    assert predict_unit(part, data, artifacts, load).rows == 3
    expected = load("mnist", version).predictor.predict(X[100:103]).argmax(axis=1)
    assert [(line["row"], line["label"]) for line in lines(artifacts)] == [
        (100 + offset, str(label)) for offset, label in enumerate(expected.tolist())
    ]


def test_a_unit_that_is_done_again_writes_the_same_bytes(
    data: InMemoryObjectStore, artifacts: InMemoryObjectStore, load: Load, version: str
) -> None:
    whole = unit(data, version, BODIES["idx"])
    predict_unit(whole, data, artifacts, load)
    before = dict(artifacts.objects)
    predict_unit(whole, data, artifacts, load)
    assert artifacts.objects == before


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is empty"),
        (BODIES["idx"][:-100], "truncated"),
        (b"\x1f\x8bnothing", "is not a gzip file"),
        (BODIES["safetensors"][:-1], "truncated"),
        (write_shard({"y": X}), "no tensor x"),
        (write_shard({"x": np.array(1.0, dtype=np.float32)}), "no tensor x with rows"),
        (write_shard({"x": X.astype(np.float32)}), "holds float32"),
        (encode_idx(X[:, :14]), "the model takes uint8 rows of [28, 28]"),
        (encode_idx(np.zeros(9, dtype=np.uint8)), "the model takes uint8 rows of [28, 28]"),
        (encode_idx(X[:0]), "holds no rows"),
        (b"1,2,3", "has 3 columns, the model takes 784"),
        (csv(X[:2]) + b",1", "number of columns changed"),
        (csv(X[:2]).replace(b",", b",a", 1), "is no CSV of uint8"),
        (csv(X[:1])[:-1] + b"999", "is no CSV of uint8"),
        (b"\x89PNG\r\n\x1a\n", "is a PNG image"),
        (b"\xff\xd8\xff\xe0", "is a JPEG image"),
        (b"\x80\x81\x82", "neither text"),
    ],
)
def test_a_file_that_is_no_input_is_refused_with_its_place_and_the_reason(
    data: InMemoryObjectStore,
    artifacts: InMemoryObjectStore,
    load: Load,
    version: str,
    body: bytes,
    reason: str,
) -> None:
    result = predict_unit(unit(data, version, body), data, artifacts, load)
    assert result.rows == 0
    assert reason in result.refused
    assert f"s3://data/{KEY}" in result.refused
    assert batch_part_key("mnist", "b1", 3) not in artifacts.objects
    assert BatchUnitResult.from_json(artifacts.objects[batch_unit_key("mnist", "b1", 3)]) == result


def test_a_file_that_was_changed_or_deleted_meanwhile_is_refused(
    data: InMemoryObjectStore, artifacts: InMemoryObjectStore, load: Load, version: str
) -> None:
    whole = unit(data, version, BODIES["csv"])
    data.put(KEY, b"1")
    assert "was overwritten after the batch was started" in predict_unit(whole, data, artifacts, load).refused
    del data.objects[KEY]
    assert "was deleted after the batch was started" in predict_unit(whole, data, artifacts, load).refused


def test_a_file_that_does_not_fit_is_refused_before_it_is_read(
    data: InMemoryObjectStore, artifacts: InMemoryObjectStore, load: Load, version: str
) -> None:
    whole = unit(data, version, b"1")
    large = msgspec.structs.replace(
        whole, source=msgspec.structs.replace(whole.source, bytes=MAX_FILE_BYTES + 1)
    )
    data.reads.clear()
    assert f"more than {MAX_FILE_BYTES}" in predict_unit(large, data, artifacts, load).refused
    assert data.reads == []


def test_text_that_does_not_fit_is_refused_before_it_is_parsed(
    data: InMemoryObjectStore,
    artifacts: InMemoryObjectStore,
    load: Load,
    version: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(read, "MAX_CSV_BYTES", 100)
    assert "more than 100" in predict_unit(unit(data, version, csv(X[:1])), data, artifacts, load).refused


def test_a_broken_model_is_no_fault_of_a_file(
    data: InMemoryObjectStore, artifacts: InMemoryObjectStore, load: Load, version: str
) -> None:
    with pytest.raises(ModelPackageError):
        predict_unit(unit(data, "0123456789abcdef", BODIES["csv"]), data, artifacts, load)


def test_another_bucket_is_never_read(
    data: InMemoryObjectStore, artifacts: InMemoryObjectStore, load: Load, version: str
) -> None:
    foreign = ObjectRef(bucket="other", key=KEY, etag="e", bytes=1)
    with pytest.raises(ContractError, match="other"):
        predict_unit(unit(data, version, b"1", source=foreign), data, artifacts, load)

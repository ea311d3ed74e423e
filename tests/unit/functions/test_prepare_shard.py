"""Preparation: every row of the plan lands in exactly one shard, and bad data is refused with its numbers."""

from __future__ import annotations

import gzip
import hashlib
import struct
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.prepare_shard import app
from functions.prepare_shard import prepare as prepare_module
from functions.prepare_shard.prepare import belongs_to_validation, prepare
from lehr import layout
from lehr.contracts.dataset import ObjectRef, PrepareUnit, UnitResult
from lehr.errors import (
    ChangedDataError,
    ContractError,
    MalformedDataError,
    MismatchedDataError,
    MissingDataError,
)
from lehr_runtime.profiles import pixel_sums
from lehr_runtime.shards import read_shard
from tests.fakes import InMemoryObjectStore

IMAGES, LABELS = "incoming/mnist/images", "incoming/mnist/labels"
CONTEXT = SimpleNamespace(
    function_name="prepare_shard",
    memory_limit_in_mb=1769,
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:prepare_shard",
    aws_request_id="request-1",
)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def raw_data(rows: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images whose first two pixels number the row."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (rows, 4, 5), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(rows) // 256, np.arange(rows) % 256
    return images, random.integers(0, 10, rows, dtype=np.uint8)


def stores(images: np.ndarray, labels: np.ndarray) -> tuple[InMemoryObjectStore, InMemoryObjectStore]:
    data = InMemoryObjectStore("data", {IMAGES: gzip.compress(idx(images)), LABELS: idx(labels)})
    return data, InMemoryObjectStore("artifacts")


def unit(data: InMemoryObjectStore, **changes: object) -> PrepareUnit:
    def ref(key: str) -> ObjectRef:
        return ObjectRef(bucket="data", key=key, etag=data.etag(key), bytes=len(data.objects[key]))

    whole = PrepareUnit(
        project="mnist",
        run="run-1",
        index=0,
        of=1,
        source="train",
        images=ref(IMAGES),
        labels=ref(LABELS),
        first=0,
        count=200,
        total=200,
        seed=7,
        validation_fraction=0.25,
        classes=10,
    )
    return msgspec.structs.replace(whole, **changes)


def numbers(x: np.ndarray) -> list[int]:
    return [int(row[0, 0]) * 256 + int(row[0, 1]) for row in x]


def test_units_together_hold_every_row_once_in_the_order_of_the_seed() -> None:
    images, labels = raw_data()
    data, artifacts = stores(images, labels)
    seen: dict[str, list[int]] = {"train": [], "validation": []}
    for index, (first, count) in enumerate([(0, 90), (90, 90), (180, 20)]):
        result = prepare(unit(data, index=index, of=3, first=first, count=count), data, artifacts)
        for shard in result.shards:
            tensors = read_shard(artifacts.objects[shard.key])
            rows = numbers(tensors["x"])
            assert np.array_equal(tensors["x"], images[rows])
            assert np.array_equal(tensors["y"], labels[rows])
            seen[shard.split] += rows
    assert sorted(seen["train"] + seen["validation"]) == list(range(200))
    order = np.random.Generator(np.random.PCG64(7)).permutation(200).tolist()
    assert [row for row in order if row in set(seen["train"])] == seen["train"]
    assert seen["train"] != sorted(seen["train"])


def test_the_result_describes_the_shards_that_were_written() -> None:
    images, labels = raw_data()
    data, artifacts = stores(images, labels)
    result = prepare(unit(data), data, artifacts)
    stored = UnitResult.from_json(artifacts.objects[layout.unit_result_key("mnist", "run-1", 0)])
    assert stored == result
    assert [shard.split for shard in result.shards] == ["train", "validation"]
    for shard in result.shards:
        raw = artifacts.objects[shard.key]
        tensors = read_shard(raw)
        assert shard.key == layout.staged_shard_key("mnist", "run-1", shard.split, 0, 1)
        assert (shard.bytes, shard.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
        assert shard.rows == len(tensors["x"]) == len(tensors["y"])
        assert shard.class_counts == np.bincount(tensors["y"], minlength=10).tolist()
    train = read_shard(artifacts.objects[result.shards[0].key])["x"].astype(int)
    assert result.input_shape == [4, 5]
    assert (result.pixels, result.pixel_sum, result.pixel_square_sum) == (
        train.size,
        train.sum(),
        (train**2).sum(),
    )


def test_a_test_source_gives_one_shard_and_no_statistics() -> None:
    data, artifacts = stores(*raw_data())
    result = prepare(unit(data, source="test"), data, artifacts)
    assert [(shard.split, shard.rows) for shard in result.shards] == [("test", 200)]
    assert (result.pixels, result.pixel_sum, result.pixel_square_sum) == (0, 0, 0)


def test_no_validation_fraction_gives_no_validation_shard() -> None:
    data, artifacts = stores(*raw_data())
    result = prepare(unit(data, validation_fraction=0.0), data, artifacts)
    assert [(shard.split, shard.rows) for shard in result.shards] == [("train", 200)]


def test_a_retry_writes_the_same_bytes_to_the_same_keys() -> None:
    data, artifacts = stores(*raw_data())
    prepare(unit(data), data, artifacts)
    first = dict(artifacts.objects)
    prepare(unit(data), data, artifacts)
    assert artifacts.objects == first


def test_an_image_keeps_its_side_when_data_is_added_and_takes_its_duplicates_along() -> None:
    images, _ = raw_data(400)
    more = np.concatenate([images, images[:50], raw_data(100, seed=9)[0]])
    before = belongs_to_validation(images, np.arange(400), 0.3)
    after = belongs_to_validation(more, np.arange(550), 0.3)
    assert np.array_equal(after[:400], before)
    assert np.array_equal(after[400:450], before[:50])
    assert 0.2 < before.mean() < 0.4


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3000), st.integers(0, 255))
def test_pixel_sums_are_exact(rows: int, value: int) -> None:
    x = np.full((rows, 3, 2), value, np.uint8)
    assert pixel_sums(x) == (rows * 6 * value, rows * 6 * value * value)


@pytest.mark.parametrize(
    ("images_shape", "labels_shape", "message"),
    [
        ((200, 4, 5), (199,), "incoming/mnist/images has 200 images, incoming/mnist/labels has 199 labels"),
        ((199, 4, 5), (200,), "incoming/mnist/images has 199 images, incoming/mnist/labels has 200 labels"),
        ((201, 4, 5), (201,), "has 201 rows, the plan says 200"),
        ((0, 4, 5), (0,), "has 0 rows, the plan says 200"),
        ((200, 20), (200,), "images have three dimensions"),
        ((200,), (200, 4, 5), "are the two files swapped"),
        ((200, 0, 5), (200,), "images have three dimensions"),
        ((200, 4, 5), (200, 1), "labels have one dimension"),
    ],
)
def test_files_that_disagree_are_refused(
    images_shape: tuple[int, ...], labels_shape: tuple[int, ...], message: str
) -> None:
    data, artifacts = stores(np.zeros(images_shape, np.uint8), np.zeros(labels_shape, np.uint8))
    with pytest.raises(MismatchedDataError, match=message):
        prepare(unit(data), data, artifacts)
    assert not artifacts.objects


def test_a_label_that_the_recipe_lacks_is_refused_with_its_first_row() -> None:
    images, labels = raw_data()
    labels[[42, 50]] = [10, 255]
    data, artifacts = stores(images, labels)
    with pytest.raises(MismatchedDataError, match=r"row 42 has label 10; .* \(2 such rows\)"):
        prepare(unit(data, first=0, count=10), data, artifacts)


@pytest.mark.parametrize("key", [IMAGES, LABELS])
def test_a_file_overwritten_after_the_plan_is_refused(key: str) -> None:
    data, artifacts = stores(*raw_data())
    planned = unit(data)
    data.put(key, data.objects[key] + b"x")
    with pytest.raises(ChangedDataError, match=key):
        prepare(planned, data, artifacts)


@pytest.mark.parametrize("key", [IMAGES, LABELS])
def test_a_file_deleted_after_the_plan_is_missing(key: str) -> None:
    data, artifacts = stores(*raw_data())
    planned = unit(data)
    del data.objects[key]
    with pytest.raises(MissingDataError, match=key):
        prepare(planned, data, artifacts)


@pytest.mark.parametrize("key", [IMAGES, LABELS])
def test_a_truncated_file_is_malformed(key: str) -> None:
    data, artifacts = stores(*raw_data())
    data.put(key, data.objects[key][:-9])
    with pytest.raises(MalformedDataError, match=key):
        prepare(unit(data), data, artifacts)


def test_images_that_would_not_fit_beside_their_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as they are, once as the rows of the unit, once as the bytes of its shard."""
    data, artifacts = stores(*raw_data())
    monkeypatch.setattr(prepare_module, "MAX_BYTES", 3 * 200 * 4 * 5 - 1)
    with pytest.raises(MalformedDataError, match=r"images: holds 4000 bytes, more than"):
        prepare(unit(data), data, artifacts)
    prepare(unit(data, count=100), data, artifacts)


def test_a_unit_that_names_another_bucket_reads_nothing() -> None:
    data, artifacts = stores(*raw_data())
    planned = unit(data)
    elsewhere = msgspec.structs.replace(planned.images, bucket="somebody-elses")
    with pytest.raises(ContractError, match="somebody-elses"):
        prepare(msgspec.structs.replace(planned, images=elsewhere), data, artifacts)
    assert not data.reads


@pytest.mark.parametrize(
    "span",
    [
        {"first": 0, "count": 0},
        {"first": -1, "count": 10},
        {"first": 150, "count": 51},
        {"first": 200, "count": 1},
        {"index": 1},
    ],
)
def test_a_unit_beyond_the_plan_is_refused(span: dict[str, int]) -> None:
    data, artifacts = stores(*raw_data())
    with pytest.raises(ContractError):
        prepare(unit(data, **span), data, artifacts)


def test_the_handler_answers_with_index_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    data, artifacts = stores(*raw_data())
    monkeypatch.setattr(app, "stores", lambda: (data, artifacts))
    assert app.handler(unit(data).to_value(), CONTEXT) == {"index": 0, "rows": 200}


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
def test_the_handler_refuses_an_event_that_is_no_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "stores", lambda: pytest.fail("nothing may be built"))
    with pytest.raises(ContractError):
        app.handler({"project": "mnist", "surprise": 1}, CONTEXT)

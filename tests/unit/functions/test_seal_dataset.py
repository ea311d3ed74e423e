"""seal_dataset: the version is the content, and the manifest comes last."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from functions.seal_dataset.seal import seal
from lehr import layout
from lehr.channel_lists import read_channel_list
from lehr.contracts.dataset import DatasetManifest, ObjectRef, PrepareUnit, Shard, Split, UnitResult
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.workflow import SealRequest
from lehr.errors import InsufficientDataError, MismatchedDataError, MissingDataError
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

RECIPE = parse_recipe((Path(__file__).parents[3] / "examples/mnist/lehr.toml").read_text())
REF = ObjectRef(bucket="data", key="incoming/mnist/x.gz", etag="e", bytes=1)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def prepared(run: str = "r1", *, lacking: int | None = None, test_rows: int = 5) -> InMemoryObjectStore:
    """Two train units and one test unit, as prepare_shard leaves them; label `lacking` never occurs."""
    store = InMemoryObjectStore("artifacts")
    store.put(layout.recipe_key("mnist", run), RECIPE.to_json())
    plan = []
    for index, source in enumerate(("train", "train", "test")):
        plan.append(
            PrepareUnit(
                project="mnist",
                run=run,
                index=index,
                of=3,
                source="train" if source == "train" else "test",
                images=REF,
                labels=REF,
                first=0,
                count=5,
                total=10,
                seed=1,
                validation_fraction=0.1,
                classes=10,
            )
        )
        splits: list[Split] = ["train", "validation"] if source == "train" else ["test"]
        shards = []
        for split in splits:
            key = layout.staged_shard_key("mnist", run, split, index, 3)
            body = f"{split}{index}".encode()
            store.put(key, body)
            counts = [0 if label == lacking else 1 for label in range(10)]
            rows = test_rows if split == "test" else 5
            shards.append(
                Shard(split=split, key=key, rows=rows, bytes=6, sha256=digest(body), class_counts=counts)
            )
        result = UnitResult(
            index=index,
            shards=shards,
            input_shape=[28, 28],
            pixel_sum=300,
            pixel_square_sum=30_000,
            pixels=10,
        )
        store.put(layout.unit_result_key("mnist", run, index), result.to_json())
    store.put(layout.plan_key("mnist", run), msgspec.json.encode(plan))
    return store


def test_the_version_is_the_hash_of_its_manifest_and_its_shards_have_the_names_of_their_content() -> None:
    store = prepared()
    sealed = seal(SealRequest(project="mnist", run="r1"), store, InMemoryRegistry())
    manifest = DatasetManifest.from_json(store.objects[f"datasets/mnist/{sealed.version}/manifest.json"])
    assert manifest.sha256().startswith(sealed.version)
    bodies = [b"train0", b"train1", b"validation0", b"validation1", b"test2"]
    assert [shard.key for shard in manifest.shards] == [
        f"shards/{digest(body)}.safetensors" for body in bodies
    ]
    assert [store.objects[f"datasets/mnist/{shard.key}"] for shard in manifest.shards] == bodies
    assert sealed.rows == {"train": 10, "validation": 10, "test": 5}
    assert [manifest.mean, manifest.std] == pytest.approx([30.0, 2100**0.5])


def test_a_channel_lists_the_shards_of_its_split_and_nothing_of_the_test() -> None:
    store = prepared()
    sealed = seal(SealRequest(project="mnist", run="r1"), store, InMemoryRegistry())
    assert sealed.train_uri == f"s3://artifacts/datasets/mnist/{sealed.version}/train.json"
    for uri, bodies in (
        (sealed.train_uri, [b"train0", b"train1"]),
        (sealed.validation_uri, [b"validation0", b"validation1"]),
    ):
        listed = read_channel_list(store.get(uri.removeprefix("s3://artifacts/")), uri)
        assert [store.get(file.key) for file in listed] == bodies
        assert [file.name for file in listed] == [f"{digest(body)}.safetensors" for body in bodies]


def test_a_version_with_more_data_shares_the_shards_that_have_not_changed() -> None:
    store, registry = prepared("r1"), InMemoryRegistry()
    first = seal(SealRequest(project="mnist", run="r1"), store, registry)
    store.objects |= prepared("r2").objects
    grown = UnitResult.from_json(store.get(layout.unit_result_key("mnist", "r2", 1)))
    more = b"train1 and more"
    store.put(grown.shards[0].key, more)
    shards = [msgspec.structs.replace(grown.shards[0], sha256=digest(more), bytes=15), grown.shards[1]]
    store.put(
        layout.unit_result_key("mnist", "r2", 1), msgspec.structs.replace(grown, shards=shards).to_json()
    )
    store.writes.clear()
    second = seal(SealRequest(project="mnist", run="r2"), store, registry)
    assert second.version != first.version
    assert [key for key in store.writes if "/shards/" in key] == [
        f"datasets/mnist/shards/{digest(more)}.safetensors"
    ]


def test_the_manifest_is_written_after_every_shard() -> None:
    store = prepared()
    seal(SealRequest(project="mnist", run="r1"), store, InMemoryRegistry())
    assert store.writes[-1].endswith("manifest.json")


class SeesNoManifest(InMemoryObjectStore):
    """A store as a run sees it that looks for the manifest before another one has written it."""

    def exists(self, key: str) -> bool:
        return False


def test_two_runs_that_seal_the_same_content_at_once_write_one_manifest() -> None:
    store = SeesNoManifest("artifacts", {**prepared("r1").objects, **prepared("r2").objects})
    first, second = (
        seal(SealRequest(project="mnist", run=run), store, InMemoryRegistry()) for run in ("r1", "r2")
    )
    assert first.version == second.version
    assert store.writes.count(f"datasets/mnist/{first.version}/manifest.json") == 1


def test_equal_content_prepared_by_another_run_is_the_same_version() -> None:
    registry = InMemoryRegistry()
    first = seal(SealRequest(project="mnist", run="r1"), prepared("r1"), registry)
    second = seal(SealRequest(project="mnist", run="r2"), prepared("r2"), registry)
    assert first.version == second.version


def test_a_unit_that_wrote_no_result_stops_the_run_whatever_the_map_says() -> None:
    store = prepared()
    del store.objects[layout.unit_result_key("mnist", "r1", 1)]
    with pytest.raises(MissingDataError, match="unit 2 of 3"):
        seal(SealRequest(project="mnist", run="r1"), store, InMemoryRegistry())


def test_a_label_without_a_training_example_is_refused_by_name() -> None:
    with pytest.raises(InsufficientDataError, match="no training example of 7"):
        seal(SealRequest(project="mnist", run="r1"), prepared(lacking=7), InMemoryRegistry())


def test_an_empty_test_split_is_refused() -> None:
    with pytest.raises(InsufficientDataError, match="the test split has no rows"):
        seal(SealRequest(project="mnist", run="r1"), prepared(test_rows=0), InMemoryRegistry())


def test_units_that_disagree_on_the_shape_are_refused() -> None:
    store = prepared()
    key = layout.unit_result_key("mnist", "r1", 2)
    result = UnitResult.from_json(store.objects[key])
    store.put(key, msgspec.structs.replace(result, input_shape=[32, 32]).to_json())
    with pytest.raises(MismatchedDataError, match=r"\(28, 28\), \(32, 32\)"):
        seal(SealRequest(project="mnist", run="r1"), store, InMemoryRegistry())

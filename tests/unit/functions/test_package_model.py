"""package_model: the best trial wins, and what a training job wrote is not trusted."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from typing import Any

import msgspec
import pytest

from functions.package_model.publish import package_best_trial
from lehr import layout, model_archive
from lehr.contracts.comparison import Slicing
from lehr.contracts.dataset import DatasetManifest, Shard
from lehr.contracts.evaluation import EvaluateUnit
from lehr.contracts.package import Lineage, ModelPackage, Signature, TensorSpec
from lehr.contracts.profile import DatasetStatistics, NumberStatistics
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.training import EpochRecord, Parity, TrainingSummary
from lehr.contracts.workflow import PackageRequest, TrialResult
from lehr.errors import ModelPackageError, NoCompletedTrialError, OverwriteError
from lehr.model_archive import read_archive
from lehr.model_packages import check_package
from tests.fakes import InMemoryObjectStore, InMemoryRegistry, without_more
from tests.signing import LocalKey
from tests.sweeps import record_trials
from tests.unit.functions.test_start_run import RECIPE


def summary(validation_accuracy: float) -> bytes:
    epoch = EpochRecord(
        epoch=1,
        loss=0.1,
        accuracy=0.9,
        validation_loss=0.1,
        validation_accuracy=validation_accuracy,
        samples_per_second=1.0,
        seconds=1.0,
    )
    return TrainingSummary(
        project="mnist",
        run="r1",
        trial="0",
        epochs=[epoch],
        parity=Parity(rows=1000, max_absolute_difference=0.0, tolerance=1e-4, argmax_disagreements=0),
        parameters=1,
        training_rows=1,
        seconds=1.0,
        device="cpu",
        threads=1,
        weights_sha256="0" * 64,
        versions={},
    ).to_json()


def packed(files: dict[str, bytes], **member_changes: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            for field, value in member_changes.items():
                setattr(member, field, value)
            tar.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


def trained(validation_accuracy: float = 0.9) -> dict[str, bytes]:
    signature = Signature(
        task="image_classification",
        input=TensorSpec(name="pixels", dtype="uint8", shape=[-1, 28, 28]),
        output=TensorSpec(name="probabilities", dtype="float32", shape=[-1, 2]),
        labels=["0", "1"],
    )
    return {
        "model.onnx": b"onnx",
        "signature.json": signature.to_json(),
        "training.json": summary(validation_accuracy),
    }


def completed(number: int, **members: Any) -> TrialResult:
    """Of the trial whose model `world` has put there."""
    model = f"s3://artifacts/runs/mnist/r1/trials/job-{number}/output/model.tar.gz"
    named = {"id": str(number), "job": f"job-{number}", "model": model, "image": "image"} | members
    return TrialResult(status="Completed", **named)


def world(*accuracies: float) -> tuple[InMemoryObjectStore, PackageRequest]:
    store = InMemoryObjectStore("artifacts")
    store.put(layout.recipe_key("mnist", "r1"), parse_recipe(RECIPE).to_json())
    for number, accuracy in enumerate(accuracies):
        key = f"runs/mnist/r1/trials/job-{number}/output/model.tar.gz"
        store.put(key, packed(trained(accuracy) | {"model.onnx": f"onnx{number}".encode()}))
    record_trials(store, [completed(number) for number in range(len(accuracies))])
    shard = Shard(split="test", key="shards/0", rows=5, bytes=1, sha256="0" * 64, class_counts=[5])
    manifest = DatasetManifest(
        project="mnist",
        format="idx",
        input_shape=[28, 28],
        input_dtype="uint8",
        labels=["0", "1"],
        shards=[shard],
        mean=0.0,
        std=1.0,
        raw=[],
        seed=1,
        validation_fraction=0.1,
    )
    store.put(layout.dataset_manifest_key("mnist", "d1"), manifest.to_json())
    request = PackageRequest(
        project="mnist",
        run="r1",
        dataset_version="d1",
        code_sha="c0de",
        instance_type="ml.g5.xlarge",
    )
    return store, request


def test_the_trial_with_the_best_validation_accuracy_becomes_the_candidate() -> None:
    store, request = world(0.90, 0.95, 0.93)
    packaged = package_best_trial(request, store, InMemoryRegistry(), without_more)
    assert packaged.trial == "1"
    assert store.objects[layout.model_file_key("mnist", packaged.version, "model.onnx")] == b"onnx1"
    lineage = Lineage.from_json(
        store.objects[layout.model_file_key("mnist", packaged.version, "lineage.json")]
    )
    assert (lineage.trial, lineage.hyperparameters) == ("1", {"n": "1"})


def test_the_lineage_names_the_instance_that_was_had_not_the_one_that_was_wished_for() -> None:
    store, request = world(0.90)
    record_trials(store, [completed(0, instance_type="ml.g4dn.xlarge")])
    packaged = package_best_trial(request, store, InMemoryRegistry(), without_more)
    lineage = Lineage.from_json(
        store.objects[layout.model_file_key("mnist", packaged.version, "lineage.json")]
    )
    assert (lineage.instance_type, request.instance_type) == ("ml.g4dn.xlarge", "ml.g5.xlarge")


@pytest.mark.parametrize(("settings", "initial"), [({"start_from": "champion"}, "cafe"), ({}, "")])
def test_the_lineage_names_the_model_that_the_winning_trial_started_from(
    settings: dict[str, str], initial: str
) -> None:
    store, request = world(0.90)
    record_trials(store, [completed(0)], settings=settings)
    request = msgspec.structs.replace(request, initial_version="cafe")
    packaged = package_best_trial(request, store, InMemoryRegistry(), without_more)
    key = layout.model_file_key("mnist", packaged.version, "lineage.json")
    assert Lineage.from_json(store.objects[key]).initial_version == initial


def test_the_weights_are_published_beside_the_graph_and_an_older_trainer_has_none() -> None:
    weights = {"weights.safetensors": b"weights"}
    assert read_archive(packed(trained() | weights), place="p") == trained() | weights
    assert read_archive(packed(trained()), place="p") == trained()


def test_the_first_trial_wins_a_tie() -> None:
    store, request = world(0.95, 0.95)
    assert package_best_trial(request, store, InMemoryRegistry(), without_more).trial == "0"


def test_a_failed_trial_does_not_matter_as_long_as_one_completed() -> None:
    store, request = world(0.90)
    failed = TrialResult(id="1", status="Failed", job="job-1", error="States.TaskFailed", cause="boom")
    record_trials(store, [failed, completed(0)])
    assert package_best_trial(request, store, InMemoryRegistry(), without_more).trial == "0"


def test_a_run_whose_trials_all_failed_says_why() -> None:
    store, request = world()
    failed = TrialResult(id="0", status="Failed", job="job-0", error="States.TaskFailed", cause="boom")
    record_trials(store, [failed])
    with pytest.raises(NoCompletedTrialError, match="trial 0: boom"):
        package_best_trial(request, store, InMemoryRegistry(), without_more)


def test_the_package_lists_every_file_and_is_written_last() -> None:
    store, request = world(0.9)
    packaged = package_best_trial(request, store, InMemoryRegistry(), without_more)
    package = ModelPackage.from_json(
        store.objects[layout.model_file_key("mnist", packaged.version, "package.json")]
    )
    assert package.version == packaged.version
    assert set(package.files) == {
        *("model.onnx", "signature.json", "training.json", "lineage.json", "card.md")
    }
    models = [key for key in store.writes if key.startswith("models/")]
    assert models[-1].endswith("package.json")


def test_a_second_attempt_finds_the_files_of_the_first_and_writes_the_rest() -> None:
    store, request = world(0.9)
    first = package_best_trial(request, store, InMemoryRegistry(), without_more)
    whole = {key: body for key, body in store.objects.items() if key.startswith("models/")}
    # The first attempt was cut off before its last file.
    del store.objects[layout.model_file_key("mnist", first.version, "package.json")]
    store.writes.clear()
    assert package_best_trial(request, store, InMemoryRegistry(), without_more).version == first.version
    assert [key for key in store.writes if key.startswith("models/")] == [
        layout.model_file_key("mnist", first.version, "package.json")
    ]
    assert {key: body for key, body in store.objects.items() if key.startswith("models/")} == whole


def test_a_file_of_other_bytes_in_the_place_of_a_package_is_not_overwritten_and_ends_the_run() -> None:
    store, request = world(0.9)
    key = layout.model_file_key(
        "mnist", package_best_trial(request, store, InMemoryRegistry(), without_more).version, "model.onnx"
    )
    store.objects[key] = b"another model"
    registry = InMemoryRegistry()
    with pytest.raises(OverwriteError, match=f"{key} is there already, with other bytes"):
        package_best_trial(request, store, registry, without_more)
    assert store.objects[key] == b"another model"
    assert registry.model_records == {}


def test_the_evaluation_is_planned_against_the_champion_of_the_moment() -> None:
    store, request = world(0.9)
    registry = InMemoryRegistry()
    registry.promote("mnist", "old", run="r0", generation=0)
    packaged = package_best_trial(request, store, registry, without_more)
    (unit,) = msgspec.json.decode(store.objects[packaged.plan.key], type=list[EvaluateUnit])
    assert (unit.champion, packaged.generation) == ("old", 1)
    assert unit.shard.key == "datasets/mnist/shards/0"


def test_the_plan_says_by_what_the_test_is_cut() -> None:
    store, request = world(0.9)
    text = RECIPE + '\n[evaluation.slices]\nlabel = "each"\nbrightness = "quartiles"\n'
    store.put(layout.recipe_key("mnist", "r1"), parse_recipe(text).to_json())
    brightness = NumberStatistics(
        name="brightness",
        rows=65,
        missing=0,
        mean=32.0,
        std=1.0,
        min=0.0,
        max=64.0,
        quantiles=[float(n) for n in range(65)],
        histogram=[],
    )
    statistics = DatasetStatistics(
        project="mnist",
        format="idx",
        input_shape=[28, 28],
        labels=["0", "1"],
        rows={},
        class_counts={},
        numbers=[brightness],
        categories=[],
        determined={},
    )
    store.put(layout.dataset_statistics_key("mnist", "d1"), statistics.to_json())
    packaged = package_best_trial(request, store, InMemoryRegistry(), without_more)
    (unit,) = msgspec.json.decode(store.objects[packaged.plan.key], type=list[EvaluateUnit])
    labels = list(parse_recipe(text).data.labels)
    assert unit.slices == [
        Slicing(by="brightness", edges=[16.0, 32.0, 48.0]),
        Slicing(by="label", values=labels),
    ]


def test_a_model_outside_of_the_bucket_is_refused() -> None:
    store, request = world(0.9)
    record_trials(store, [completed(0, model="s3://elsewhere/model.tar.gz")])
    with pytest.raises(NoCompletedTrialError, match="not in s3://artifacts/"):
        package_best_trial(request, store, InMemoryRegistry(), without_more)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not a readable model archive"),
        (b"no gzip", "not a readable model archive"),
        (packed(trained())[:-40], "not a readable model archive"),
        (gzip.compress(b"no tar" * 1000, mtime=0), "not a readable model archive"),
        (packed({"model.onnx": b"x"}), "signature.json, training.json missing"),
        (packed({f"../{name}": body for name, body in trained().items()}), "missing"),
        (packed({f"/{name}": body for name, body in trained().items()}), "missing"),
        (packed({str(number): b"" for number in range(101)}), "more than 100 members"),
        (packed({"model.onnx": b""}, type=tarfile.SYMTYPE, linkname="/etc/passwd"), "not one regular file"),
        (packed({"model.onnx": b""}, type=tarfile.LNKTYPE, linkname="training.json"), "not one regular file"),
    ],
)
def test_a_hostile_archive_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(ModelPackageError, match=words):
        read_archive(raw, place="s3://artifacts/model.tar.gz")


def test_a_member_over_the_cap_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_archive, "MAX_FILE_BYTES", 10)
    with pytest.raises(ModelPackageError, match=r"model\.onnx is 11 bytes, over 10"):
        read_archive(packed({"model.onnx": b"x" * 11}), place="p")


def test_members_that_nobody_reads_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"padding.bin": b"x" * 2000} | trained()
    assert read_archive(packed(files), place="p") == trained()
    monkeypatch.setattr(model_archive, "MAX_ARCHIVE_BYTES", 1999)
    with pytest.raises(ModelPackageError, match="p: unpacked it is over 1999 bytes"):
        read_archive(packed(files), place="p")


def test_weights_over_the_cap_are_left_out_and_the_model_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = trained()
    monkeypatch.setattr(model_archive, "MAX_FILE_BYTES", max(map(len, files.values())))
    large = {"weights.safetensors": b"x" * (model_archive.MAX_FILE_BYTES + 1)}
    assert read_archive(packed(large | files), place="p") == files


def test_an_archive_of_a_folder_is_read_like_one_of_files() -> None:
    files = trained()
    assert read_archive(packed({f"./{name}": body for name, body in files.items()}), place="p") == files


def test_a_package_is_signed_before_it_is_there() -> None:
    store, request = world(0.90)
    key = LocalKey()
    packaged = package_best_trial(request, store, InMemoryRegistry(), without_more, key)
    names = [name.rpartition("/")[2] for name in store.writes if name.startswith("models/")]
    assert names[-2:] == ["provenance.json", "package.json"]
    package, statement = check_package(store, "mnist", packaged.version, key)
    assert statement is not None
    said = statement.predicate
    assert (said.run, said.code_sha, said.image) == ("r1", "c0de", "image")
    manifest = store.objects[layout.dataset_manifest_key("mnist", "d1")]
    assert said.dataset_sha256 == hashlib.sha256(manifest).hexdigest()
    assert (said.metrics.accuracy, said.version) == (0.90, package.version)


def test_a_second_attempt_leaves_the_signature_of_the_first() -> None:
    store, request = world(0.90)
    key = LocalKey()
    first = package_best_trial(request, store, InMemoryRegistry(), without_more, key)
    signed = store.objects[layout.model_file_key("mnist", first.version, "provenance.json")]
    second = package_best_trial(request, store, InMemoryRegistry(), without_more, key)
    assert second.version == first.version
    assert store.objects[layout.model_file_key("mnist", first.version, "provenance.json")] == signed


def test_something_else_in_the_place_of_a_signature_is_not_taken_for_one() -> None:
    store, request = world(0.90)
    version = package_best_trial(request, store, InMemoryRegistry(), without_more).version
    store.put(layout.model_file_key("mnist", version, "provenance.json"), b"{}")
    with pytest.raises(OverwriteError, match=r"provenance\.json"):
        package_best_trial(request, store, InMemoryRegistry(), without_more, LocalKey())


def test_without_a_signer_nothing_is_signed() -> None:
    store, request = world(0.90)
    version = package_best_trial(request, store, InMemoryRegistry(), without_more).version
    assert not store.exists(layout.model_file_key("mnist", version, "provenance.json"))

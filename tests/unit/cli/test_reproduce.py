"""`lehr reproduce`: what the state machine is told is the lineage's, and what is gone refuses it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from lehr import layout
from lehr.contracts.dataset import DatasetManifest, Shard
from lehr.contracts.package import TRAINING_FILE, WEIGHTS_FILE, Lineage
from lehr.contracts.reproduction import Compared, Comparison, ReproduceInput
from lehr.contracts.training import TrainingSummary
from lehr.errors import UserError
from lehr_cli.failures import RunFailedError, VerificationError
from lehr_cli.output import Output
from lehr_cli.reproduce import _tell, comparison_lines, make_input
from lehr_cli.stack import Stack
from tests.fakes import InMemoryObjectStore
from tests.unit.core.test_recipe import MNIST
from tests.unit.functions.test_package_model import summary

MANIFEST = DatasetManifest(
    project="mnist",
    format="idx",
    input_shape=[28, 28],
    input_dtype="uint8",
    labels=["0"],
    shards=[
        Shard(split=split, key=f"shards/{split}", rows=9, bytes=1, sha256="0" * 64, class_counts=[9])
        for split in ("train", "validation", "test")
    ],
    mean=0.0,
    std=1.0,
    raw=[],
    seed=1,
    validation_fraction=0.1,
)
DATASET = MANIFEST.sha256()[:16]
LINEAGE = Lineage(
    project="mnist",
    run="r1",
    trial="3",
    dataset_version=DATASET,
    code_sha="c0de",
    training_job="j",
    image="an-image",
    trainer_version="t1",
    initial_version="m0",
    instance_type="ml.g5.xlarge",
    hyperparameters={"epochs": "5", "seed": "1"},
)


def stack(function_memory_mb: int = 0, **parameters: str) -> Stack:
    store = InMemoryObjectStore("artifacts")
    store.put(layout.dataset_manifest_key("mnist", DATASET), MANIFEST.to_json())
    for key in (
        *(layout.dataset_channel_key("mnist", DATASET, split) for split in ("train", "validation")),
        *(f"datasets/mnist/shards/{split}" for split in ("train", "validation")),
        layout.trainer_file_key("t1", "SHA256SUMS"),
        layout.model_file_key("mnist", "m0", WEIGHTS_FILE),
    ):
        store.put(key, b"{}")
    store.put(layout.project_prefix("mnist", "c0de") + "lehr.toml", MNIST.encode())
    made = SimpleNamespace(artifacts=store, function_memory_mb=function_memory_mb, parameters=parameters)
    return cast(Stack, made)


def test_everything_that_decides_the_weights_is_the_lineages() -> None:
    made = make_input(stack(), "m1", LINEAGE, 0.01)
    again = made.reproduction
    assert ReproduceInput.from_json(made.to_json()) == made
    assert (again.version, again.tolerance) == ("m1", 0.01)
    assert again.trial.hyperparameters == LINEAGE.hyperparameters
    assert again.dataset.train_uri == f"s3://artifacts/datasets/mnist/{DATASET}/train.json"
    assert again.dataset.rows == {"train": 9, "validation": 9}
    assert (again.trainer.uri, again.trainer.gpu_image) == ("s3://artifacts/trainer/t1/", "an-image")
    assert made.code_uri == "s3://artifacts/projects/mnist/c0de/"
    assert made.initial_uri == f"s3://artifacts/models/mnist/m0/{WEIGHTS_FILE}"
    (attempt,) = made.attempts
    assert (attempt.backend, attempt.spot, attempt.instance_types) == ("sagemaker", False, ["ml.g5.xlarge"])


@pytest.mark.parametrize(("wall_update", "more"), [(77, {"last_update": "77"}), (None, {})])
def test_what_ended_at_its_wall_is_told_the_update_and_not_the_time(
    wall_update: int | None, more: dict[str, str]
) -> None:
    made = stack()
    seen = msgspec.structs.replace(TrainingSummary.from_json(summary(0.9)), wall_update=wall_update)
    made.artifacts.put(layout.model_file_key("mnist", "m1", TRAINING_FILE), seen.to_json())
    walled = msgspec.structs.replace(LINEAGE, hyperparameters={"epochs": "5", "wall_s": "300"})
    again = make_input(made, "m1", walled, 0.01).reproduction
    assert again.trial.hyperparameters == {"epochs": "5"} | more


def test_it_writes_where_no_run_does_under_a_name_that_a_job_has_room_for() -> None:
    made = make_input(stack(), "m1", LINEAGE, 0.01)
    other = make_input(stack(), "m1", LINEAGE, 0.01)
    assert made.run != other.run
    assert len(made.run) <= 15
    assert made.checkpoint_prefix.startswith(f"s3://artifacts/runs/mnist/{made.run}/")
    assert made.output_prefix.startswith(f"s3://artifacts/runs/mnist/{made.run}/")


def test_the_backend_is_the_one_that_the_instance_type_belongs_to() -> None:
    of_function = msgspec.structs.replace(
        LINEAGE, instance_type="lambda-3008mb", trainer_version="", initial_version=""
    )
    made = make_input(stack(3008), "m1", of_function, 0.01)
    assert (made.attempts[0].backend, made.reproduction.trainer.uri, made.initial_uri) == ("lambda", "", "")
    with pytest.raises(UserError, match="3008 MB"):
        make_input(stack(), "m1", of_function, 0.01)
    on_batch = msgspec.structs.replace(LINEAGE, instance_type="g5.xlarge")
    (attempt,) = make_input(stack(BatchSubnetIds="subnet-1"), "m1", on_batch, 0.01).attempts
    assert (attempt.backend, attempt.instance_types) == ("batch", ["ml.g5.xlarge"])
    with pytest.raises(UserError, match="Batch"):
        make_input(stack(), "m1", on_batch, 0.01)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (layout.dataset_manifest_key("mnist", DATASET), f"dataset version {DATASET} was erased"),
        ("datasets/mnist/shards/train", "1 shard"),
        (layout.dataset_channel_key("mnist", DATASET, "train"), "no list of its train shards"),
        (layout.project_prefix("mnist", "c0de") + "lehr.toml", "the code c0de was deleted"),
        (layout.trainer_file_key("t1", "SHA256SUMS"), "the trainer t1 was deleted"),
        (layout.model_file_key("mnist", "m0", WEIGHTS_FILE), "of model m0"),
    ],
)
def test_what_is_gone_is_named(key: str, said: str) -> None:
    made = stack()
    del cast(InMemoryObjectStore, made.artifacts).objects[key]
    with pytest.raises(UserError, match=said):
        make_input(made, "m1", LINEAGE, 0.01)


def comparison(outcome: Any, **more: Any) -> Comparison:
    known: dict[str, Any] = {"project": "mnist", "run": "again-1", "version": "m1", "tolerance": 0.02}
    return Comparison(outcome=outcome, **(known | more))


DIFFERENT: dict[str, Any] = {
    "weights_sha256": "a" * 64,
    "weights_sha256_again": "b" * 64,
    "rows": 8,
    "max_difference": 0.3,
    "max_logit_difference": 1.5,
    "label_changes": 1,
    "figures": [Compared(name="validation accuracy", original="0.9", again="0.8")],
    "circumstances": [Compared(name="device", original="cpu", again="cuda")],
}


def test_the_same_model_is_one_line_and_another_says_what_differs() -> None:
    (line,) = comparison_lines(comparison("identical", weights_sha256="a" * 64, is_graph_identical=True))
    assert "bit for bit" in line.plain
    told = "\n".join(line.plain for line in comparison_lines(comparison("different", **DIFFERENT)))
    for part in (
        "3.00e-01",
        "1.50e+00",
        "1 of them get another label",
        "validation accuracy",
        "device was cpu",
    ):
        assert part in told


def test_another_model_and_none_at_all_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(is_json=True)
    with pytest.raises(VerificationError, match="was not reproduced"):
        _tell(out, comparison("different", **DIFFERENT))
    with pytest.raises(RunFailedError, match="no capacity"):
        _tell(out, comparison("failed", reason="no capacity"))
    _tell(out, comparison("within_tolerance", **DIFFERENT))
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["outcome"] for event in events] == ["different", "failed", "within_tolerance"]

"""The trainer as a Batch job: the container moves its own data, and nothing is lost between attempts."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from lehr.channel_lists import write_channel_list
from lehr_trainer import batch_job, transfer
from lehr_trainer.batch_job import STOPPED, run_batch_job
from lehr_trainer.errors import JobInputError
from lehr_trainer.stop import StopFlag
from lehr_trainer.transfer import S3Folder

BUCKET = "artifacts"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket=BUCKET)
        for key in (
            "projects/p/c/lehr.toml",
            "datasets/d/manifest.json",
            "datasets/shards/0.safetensors",
        ):
            s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
        listed = write_channel_list(f"s3://{BUCKET}/datasets/shards/", ["0.safetensors"])
        s3.put_object(Bucket=BUCKET, Key="datasets/d/train.json", Body=listed)
        yield s3


def environ(**changes: str) -> dict[str, str]:
    return {
        "LEHR_CODE_URI": f"s3://{BUCKET}/projects/p/c/",
        "LEHR_MANIFEST_URI": f"s3://{BUCKET}/datasets/d/manifest.json",
        "LEHR_TRAIN_URI": f"s3://{BUCKET}/datasets/d/train.json",
        "LEHR_VALIDATION_URI": "",
        "LEHR_HYPERPARAMETERS": json.dumps({"epochs": "5"}),
        "LEHR_CHECKPOINT_URI": f"s3://{BUCKET}/runs/checkpoints/0/",
        "LEHR_OUTPUT_URI": f"s3://{BUCKET}/runs/trials/batch-0/output/",
    } | changes


def keys(client: Any, prefix: str) -> list[str]:
    return [
        entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    ]


def trains(root: Path, stop: Any, environ: Any) -> int:
    """A trainer that looks at its inputs, keeps a checkpoint and leaves a package."""
    assert json.loads((root / "input/config/hyperparameters.json").read_text()) == {"epochs": "5"}
    assert (root / "input/data/manifest/manifest.json").is_file()
    assert (root / "input/data/train/0.safetensors").is_file()
    (root / "checkpoints").mkdir(exist_ok=True)
    (root / "checkpoints/a.checkpoint").write_text("1")
    for name in ("model.onnx", "signature.json", "training.json"):
        (root / "model" / name).write_text(name)
    return 0


def test_the_weights_to_start_from_arrive_as_a_channel(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "models/p/cafe/weights.safetensors"
    client.put_object(Bucket=BUCKET, Key=key, Body=b"weights")

    def starts(root: Path, stop: Any, environ: Any) -> int:
        assert (root / "input/data/initial/weights.safetensors").read_bytes() == b"weights"
        return trains(root, stop, environ)

    monkeypatch.setattr(batch_job, "run", starts)
    given = environ(LEHR_INITIAL_URI=f"s3://{BUCKET}/{key}", LEHR_INITIAL_VERSION="cafe")
    assert run_batch_job(tmp_path, given, client, StopFlag()) == 0


def test_of_several_nodes_the_main_one_alone_keeps_checkpoints_and_uploads_the_model(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_job, "run", trains)
    nodes = {"AWS_BATCH_JOB_NUM_NODES": "2", "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0"}
    child = environ(
        AWS_BATCH_JOB_NODE_INDEX="1", AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS="10.0.0.1", **nodes
    )
    assert run_batch_job(tmp_path / "child", child, client, StopFlag()) == 0
    assert keys(client, "runs/") == []
    assert (
        run_batch_job(tmp_path / "main", environ(AWS_BATCH_JOB_NODE_INDEX="0", **nodes), client, StopFlag())
        == 0
    )
    assert keys(client, "runs/") == [
        "runs/checkpoints/0/a.checkpoint",
        "runs/trials/batch-0/output/model.tar.gz",
    ]


def test_a_node_that_is_not_told_where_the_main_one_is_fails(client: Any, tmp_path: Path) -> None:
    lost = environ(AWS_BATCH_JOB_NUM_NODES="2", AWS_BATCH_JOB_NODE_INDEX="1")
    with pytest.raises(JobInputError, match="MAIN_NODE_PRIVATE_IPV4_ADDRESS is not set on node 1 of 2"):
        run_batch_job(tmp_path, lost, client, StopFlag())


def test_channels_come_down_and_the_model_goes_up(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_job, "run", trains)
    assert run_batch_job(tmp_path, environ(), client, StopFlag()) == 0
    body = client.get_object(Bucket=BUCKET, Key="runs/trials/batch-0/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert archive.getnames() == ["model.onnx", "signature.json", "training.json"]
    assert keys(client, "runs/checkpoints/") == ["runs/checkpoints/0/a.checkpoint"]


def test_the_next_attempt_finds_the_checkpoints_of_the_one_before(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(root: Path, stop: Any, environ: Any) -> int:
        (root / "checkpoints/b.checkpoint").write_text("2")
        return 0

    monkeypatch.setattr(batch_job, "run", interrupted)
    assert run_batch_job(tmp_path / "first", environ(), client, StopFlag()) == STOPPED
    assert keys(client, "runs/trials/") == []

    def resumed(root: Path, stop: Any, environ: Any) -> int:
        assert (root / "checkpoints/b.checkpoint").read_text() == "2"
        return trains(root, stop, environ)

    monkeypatch.setattr(batch_job, "run", resumed)
    assert run_batch_job(tmp_path / "second", environ(), client, StopFlag()) == 0


def test_checkpoints_reach_s3_while_the_training_goes_on(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = threading.Event()

    def slow(root: Path, stop: Any, environ: Any) -> int:
        (root / "checkpoints/c.checkpoint").write_text("3")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not keys(client, "runs/checkpoints/"):
            time.sleep(0.05)
        if keys(client, "runs/checkpoints/"):
            seen.set()
        return trains(root, stop, environ)

    monkeypatch.setattr(transfer, "SYNC_S", 0.1)
    monkeypatch.setattr(batch_job, "run", slow)
    assert run_batch_job(tmp_path, environ(), client, StopFlag()) == 0
    assert seen.is_set()


def test_a_checkpoint_that_was_rotated_away_disappears_from_s3(client: Any, tmp_path: Path) -> None:
    folder = S3Folder(client, f"s3://{BUCKET}/x/", tmp_path)
    (tmp_path / "old").write_text("1")
    folder.upload_changed()
    (tmp_path / "old").unlink()
    (tmp_path / "new").write_text("2")
    (tmp_path / "half.unfinished").write_text("3")
    folder.upload_changed()
    assert keys(client, "x/") == ["x/new"]


def test_a_failed_training_uploads_no_model(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_job, "run", lambda *_: 1)
    assert run_batch_job(tmp_path, environ(), client, StopFlag()) == 1
    assert keys(client, "runs/trials/") == []


def test_an_empty_channel_is_named(client: Any, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match="channel train: there is nothing under s3://artifacts/nowhere/"
    ):
        run_batch_job(tmp_path, environ(LEHR_TRAIN_URI=f"s3://{BUCKET}/nowhere/"), client, StopFlag())


def test_a_key_that_climbs_out_of_its_channel_is_refused(client: Any, tmp_path: Path) -> None:
    client.put_object(Bucket=BUCKET, Key="evil/../../etc/passwd", Body=b"")
    with pytest.raises(ValueError, match="outside of its channel"):
        S3Folder(client, f"s3://{BUCKET}/evil/", tmp_path / "channel").download()

"""The same run with AWS Batch as the backend, in a stack that was deployed with subnets for it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.conftest import Finished, Workplace, clean_environment
from tests.e2e.small_mnist import write_data, write_project

STACK = "lehr-batch"
ON_BATCH = {'kind = "sagemaker"': 'kind = "batch"\nvcpus = 1\nmemory_mb = 2048\ngpus = 0'}


@pytest.fixture(scope="module")
def batch_stack(workplace: Workplace) -> Workplace:
    deploy = [sys.executable, "-m", "lehr_local.deploy", "--template", "template.yaml", "--stack", STACK]
    deploy += ["--endpoint-url", workplace.info()["endpoint_url"]]
    deploy += ["--parameter", "BatchSubnetIds=subnet-0123456789abcdef0"]
    deploy += ["--parameter", "BatchSecurityGroupIds=sg-0123456789abcdef0"]
    result = subprocess.run(
        deploy, cwd=workplace.folder, env=clean_environment(), capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return workplace


def lehr(place: Workplace, *arguments: str) -> Finished:
    return place.lehr("--stack", STACK, *arguments)


def runs(place: Workplace, project: str) -> list[dict[str, Any]]:
    return [line for line in lehr(place, "runs", project).events if line["event"] == "run"]


def test_a_model_is_trained_on_batch_and_promoted(batch_stack: Workplace) -> None:
    folder = write_project(batch_stack.folder / "on-batch", "on-batch", **ON_BATCH)
    assert lehr(batch_stack, "push", str(folder)).code == 0
    data = write_data(batch_stack.folder / "data-1000", 1000)
    trained = lehr(batch_stack, "train", "on-batch", "--data", str(data))
    assert trained.code == 0, trained.stderr
    assert trained.only("decided")["verdict"] == "promote"
    (run,) = runs(batch_stack, "on-batch")
    bucket = lehr_outputs(batch_stack)["ArtifactBucket"]
    s3 = batch_stack.client("s3")
    keys = [
        entry["Key"]
        for entry in s3.list_objects_v2(Bucket=bucket, Prefix=f"runs/on-batch/{run['run']}/")["Contents"]
    ]
    assert any(key.endswith("trials/batch-0/output/model.tar.gz") for key in keys)
    assert any("/checkpoints/0/" in key for key in keys)
    assert not [job for job in batch_stack.training_jobs() if "on-batch" in job], "SageMaker trained it"


def test_a_trainer_that_fails_on_batch_says_why(batch_stack: Workplace) -> None:
    folder = write_project(
        batch_stack.folder / "broken-batch",
        "broken-batch",
        **ON_BATCH,
        **{'name = "mlp"': 'name = "custom"\nfactory = "net:build"'},
    )
    (folder / "net.py").write_text("def build(**shape):\n    raise ValueError('no such layer: convolver')\n")
    assert lehr(batch_stack, "push", str(folder)).code == 0
    data = write_data(batch_stack.folder / "data-1000", 1000)
    failed = lehr(batch_stack, "train", "broken-batch", "--data", str(data))
    assert failed.code == 1
    (run,) = runs(batch_stack, "broken-batch")
    assert run["status"] == "failed"
    assert "no such layer: convolver" in run["reason"]


def test_batch_in_a_stack_without_it_is_refused_before_anything_starts(workplace: Workplace) -> None:
    folder = write_project(workplace.folder / "no-batch", "no-batch", **ON_BATCH)
    assert workplace.lehr("push", str(folder)).code == 0
    data = write_data(workplace.folder / "data-400", 400)
    refused = workplace.lehr("train", "no-batch", "--data", str(data))
    assert refused.code == 1
    assert "BatchSubnetIds" in refused.only("answer")["reason"]


def lehr_outputs(place: Workplace) -> dict[str, str]:
    (stack,) = place.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

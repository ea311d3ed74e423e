"""What the local cloud says in the place of AWS is explained as what AWS says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest
from boto3.exceptions import S3UploadFailedError

from lehr.contracts.explanation import Explanation
from lehr_local.authority import AccessDeniedError
from lehr_local.batch_jobs import BatchJobs
from lehr_local.batch_retries import TIMED_OUT
from lehr_local.emulator import _classify
from lehr_local.jsonata_engine import evaluate
from lehr_local.training_jobs import TrainingJobs
from lehr_local.training_request import refusal
from lehr_local.training_storage import TrainingStorage
from tests.failures import batch, explained, trained

JOB: dict[str, Any] = {
    "TrainingJobName": "lehr-mnist-r1-0-a0r0d0",
    "RoleArn": "arn:aws:iam::123456789012:role/lehr",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://artifacts/x"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


def a_taken_name() -> Explanation:
    jobs: Any = SimpleNamespace(_lock=Lock(), _is_closed=False, _assume_role=lambda arn: None)
    backend = SimpleNamespace(training_jobs={JOB["TrainingJobName"]: SimpleNamespace(arn="arn")})
    return _refused("SageMaker.ResourceInUseException", lambda: TrainingJobs.create(jobs, backend, JOB))


def a_name_of_other_letters() -> Explanation:
    said = refusal(JOB | {"TrainingJobName": "a_b"})
    assert said
    return explained("TrainTrials", "SageMaker.AmazonSageMakerException", said)


def a_role_that_does_not_trust() -> Explanation:
    def deny(*_: object) -> None:
        raise AccessDeniedError("no")

    settings = SimpleNamespace(account_id="1", authority=SimpleNamespace(demand_for_service=deny))
    jobs: Any = SimpleNamespace(_settings=settings)
    return _refused("SageMaker.AmazonSageMakerException", lambda: TrainingJobs._assume_role(jobs, "arn:role"))


def a_queue(state: str | None) -> Explanation:
    queue = SimpleNamespace(name="lehr-spot", state=state) if state else None
    backend = SimpleNamespace(get_job_definition=lambda name: object(), get_job_queue=lambda name: queue)
    request = {"jobDefinition": "train", "jobQueue": "lehr-spot"}
    jobs: Any = SimpleNamespace()
    return _refused("Batch.ClientException", lambda: BatchJobs.submit(jobs, backend, request))


def _refused(error: str, call: Callable[[], object]) -> Explanation:
    with pytest.raises(Exception) as caught:
        call()
    said = getattr(caught.value, "message", None) or str(caught.value)
    return explained("TrainTrials", error, said)


def an_empty_channel() -> Explanation:
    storage: Any = SimpleNamespace(_below=lambda *_: [], _fetch=lambda files, *_: 0, _region="eu-west-1")
    source = {"S3Uri": "s3://artifacts/train/", "S3DataType": "S3Prefix"}
    with pytest.raises(Exception) as caught:
        TrainingStorage.download_channel(storage, source, Path("/nowhere"), "arn:role", lambda: False)
    return trained(str(caught.value))


def an_artifact() -> Explanation:
    def upload_file(*_: object, **__: object) -> None:
        raise S3UploadFailedError("Failed to upload model.tar.gz to artifacts/x: the connection was closed")

    storage: Any = SimpleNamespace(_client=SimpleNamespace(upload_file=upload_file), _transfer=None)
    with pytest.raises(Exception) as caught:
        TrainingStorage.upload(storage, Path("/nowhere"), "s3://artifacts/x")
    return trained(str(caught.value))


def a_function_that_takes_too_long() -> Explanation:
    body, _ = _classify(b"Task timed out after 3.00 seconds")
    document = json.loads(body)
    return explained("PackageModel", document["errorType"], body.decode())


def a_function_of_another_answer() -> Explanation:
    body, _ = _classify(b"gone")
    return explained("PackageModel", json.loads(body)["errorType"], body.decode())


def an_expression_of_nothing() -> Explanation:
    with pytest.raises(Exception) as caught:
        evaluate("$x", {})
    return explained("PackageModel", f"States.{type(caught.value).__name__}", str(caught.value))


SAID: list[tuple[str, Callable[[], Explanation]]] = [
    ("job-name-taken", a_taken_name),
    ("job-request-refused", a_name_of_other_letters),
    ("permission-denied", a_role_that_does_not_trust),
    ("batch-queue-unusable", lambda: a_queue(None)),
    ("batch-queue-unusable", lambda: a_queue("DISABLED")),
    ("training-took-too-long", lambda: batch(TIMED_OUT)),
    ("data-transfer-failed", an_empty_channel),
    ("data-transfer-failed", an_artifact),
    ("function-timed-out", a_function_that_takes_too_long),
    ("function-crashed", a_function_of_another_answer),
    ("state-machine-defect", an_expression_of_nothing),
]


@pytest.mark.parametrize(("name", "told"), SAID)
def test_what_the_local_cloud_says_is_explained(name: str, told: Callable[[], Explanation]) -> None:
    explanation = told()
    assert explanation.cause == name, [one.text for one in explanation.evidence]

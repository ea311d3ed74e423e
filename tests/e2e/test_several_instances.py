"""One model trained on two instances, by either backend."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest

from tests.e2e.small_mnist import write_data, write_project
from tests.e2e.test_batch import ON_BATCH, batch_stack
from tests.e2e.workplace import Workplace

__all__ = ["batch_stack"]

TRAINING_JOBS = 2
TWO = {'kind = "sagemaker"': 'kind = "sagemaker"\ninstance_count = 2'}
TWO_ON_BATCH = {key: f"{value}\ninstance_count = 2" for key, value in ON_BATCH.items()}


def summary(place: Workplace, project: str) -> dict[str, Any]:
    """training.json of the project's only model package."""
    (place_of,) = [
        (bucket, key) for bucket, key in place.keys(project) if key.endswith("/output/model.tar.gz")
    ]
    body = place.client("s3").get_object(Bucket=place_of[0], Key=place_of[1])["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        member = archive.extractfile("training.json")
        assert member is not None
        found: dict[str, Any] = json.loads(member.read())
        return found


def train(place: Workplace, project: str, changes: dict[str, str]) -> None:
    folder = write_project(place.folder / project, project, **changes)
    assert place.lehr("push", str(folder)).code == 0
    data = write_data(place.folder / "data-1000", 1000)
    trained = place.lehr("train", project, "--data", str(data))
    assert trained.code == 0, trained.stderr
    assert trained.only("decided")["verdict"] == "promote"
    assert summary(place, project)["processes"] == 2


def test_a_model_is_trained_on_two_instances_and_promoted(workplace: Workplace) -> None:
    project = workplace.project("two-hosts")
    train(workplace, project, TWO)
    (job,) = workplace.training_jobs(project)
    description = workplace.client("sagemaker").describe_training_job(TrainingJobName=job)
    assert description["ResourceConfig"]["InstanceCount"] == 2


@pytest.mark.slow
def test_a_model_is_trained_on_two_nodes_of_batch_and_promoted(batch_stack: Workplace) -> None:
    project = batch_stack.project("two-nodes")
    train(batch_stack, project, TWO_ON_BATCH)
    assert batch_stack.training_jobs(project) == [], "SageMaker trained it"

"""The same run with AWS Batch as the backend, in a stack that was deployed with subnets for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.small_mnist import write_data, write_project
from tests.e2e.targets import LocalTarget
from tests.e2e.workplace import Workplace, deployed_beside

TRAINING_JOBS = 2
STACK = "lehr-batch"
ON_BATCH = {'kind = "sagemaker"': 'kind = "batch"\nvcpus = 1\nmemory_mb = 2048\ngpus = 0'}


@pytest.fixture(scope="module")
def batch_stack(workplace: Workplace) -> Iterator[Workplace]:
    """A stack with subnets for Batch: locally one beside the suite's, on AWS the suite's own if it has them."""
    if not isinstance(workplace.target, LocalTarget):
        if not workplace.parameters()["BatchSubnetIds"]:
            pytest.skip(f"the stack {workplace.target.stack} was deployed without BatchSubnetIds")
        yield workplace
        return
    subnets = {"BatchSubnetIds": "subnet-0123456789abcdef0", "BatchSecurityGroupIds": "sg-0123456789abcdef0"}
    with deployed_beside(workplace, STACK, **subnets) as place:
        yield place


def test_a_model_is_trained_on_batch_and_promoted(batch_stack: Workplace) -> None:
    project = batch_stack.project("on-batch")
    folder = write_project(batch_stack.folder / project, project, **ON_BATCH)
    assert batch_stack.lehr("push", str(folder)).code == 0
    data = write_data(batch_stack.folder / "data-1000", 1000)
    trained = batch_stack.lehr("train", project, "--data", str(data))
    assert trained.code == 0, trained.stderr
    assert trained.only("decided")["verdict"] == "promote"
    (run,) = batch_stack.runs(project)
    keys = [key for _, key in batch_stack.keys(project) if key.startswith(f"runs/{project}/{run['run']}/")]
    assert any(key.endswith("trials/batch-0/output/model.tar.gz") for key in keys)
    assert any("/checkpoints/0/" in key for key in keys)
    assert batch_stack.training_jobs(project) == [], "SageMaker trained it"


@pytest.mark.slow
def test_a_trainer_that_fails_on_batch_says_why(batch_stack: Workplace) -> None:
    project = batch_stack.project("broken-batch")
    folder = write_project(
        batch_stack.folder / project,
        project,
        **ON_BATCH,
        **{'name = "mlp"': 'name = "custom"\nfactory = "net:build"'},
    )
    (folder / "net.py").write_text("def build(**shape):\n    raise ValueError('no such layer: convolver')\n")
    assert batch_stack.lehr("push", str(folder)).code == 0
    data = write_data(batch_stack.folder / "data-1000", 1000)
    failed = batch_stack.lehr("train", project, "--data", str(data))
    assert failed.code == 1
    (run,) = batch_stack.runs(project)
    assert run["status"] == "failed"
    assert "no such layer: convolver" in run["reason"]


def test_batch_in_a_stack_without_it_is_refused_before_anything_starts(workplace: Workplace) -> None:
    if workplace.parameters()["BatchSubnetIds"]:
        pytest.skip(f"the stack {workplace.target.stack} was deployed with BatchSubnetIds")
    project = workplace.project("no-batch")
    folder = write_project(workplace.folder / project, project, **ON_BATCH)
    assert workplace.lehr("push", str(folder)).code == 0
    data = write_data(workplace.folder / "data-400", 400)
    refused = workplace.lehr("train", project, "--data", str(data))
    assert refused.code == 1
    assert "BatchSubnetIds" in refused.only("answer")["reason"]

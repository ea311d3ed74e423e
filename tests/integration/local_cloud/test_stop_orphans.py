"""The look for orphans against the local cloud's own training jobs and executions.

The execution here only waits and has no hold on the jobs, as if stopping them had been refused to it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from functions.stop_orphans.stop import Round, StopOrphans
from lehr.aws.executions import StepFunctionsExecutions
from lehr.aws.jobs import BatchJobs, SageMakerJobs
from lehr.contracts.registry import RunRecord
from tests.fakes import InMemoryRegistry
from tests.integration.local_cloud.orchestration_cloud import (
    BUCKET,
    ROLE,
    Orchestration,
    orchestration,
    training_request,
    unique,
    until,
)

__all__ = ["orchestration"]

PREFIX = "lehr-0a1b2c3d-"
WAITS = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 300, "End": True}}}


class Cloud:
    """One state machine with runs of the project `mnist`, and a stopper for its jobs."""

    def __init__(self, orchestration: Orchestration) -> None:
        self.orchestration = orchestration
        self.functions = orchestration.client("stepfunctions")
        self.machine = self.functions.create_state_machine(
            name=unique("machine"), definition=json.dumps(WAITS), roleArn=ROLE
        )["stateMachineArn"]
        self.registry = InMemoryRegistry()
        self.batch = orchestration.client("batch")
        self.queue = self._make_queue()
        self.stopper = StopOrphans(
            backends=(
                SageMakerJobs(orchestration.client("sagemaker"), PREFIX),
                BatchJobs(self.batch, [self.queue], PREFIX),
            ),
            executions=StepFunctionsExecutions(self.machine, self.functions),
            registry=self.registry,
            logger=logging.getLogger("test"),
        )

    def _make_queue(self) -> str:
        name = unique("training")
        resources = {
            "type": "SPOT",
            "minvCpus": 0,
            "maxvCpus": 8,
            "instanceTypes": ["g6.xlarge"],
            "subnets": ["subnet-of-the-user"],
            "securityGroupIds": ["sg-of-the-user"],
            "instanceRole": "ecsInstanceRole",
        }
        environment = self.batch.create_compute_environment(
            computeEnvironmentName=name, type="MANAGED", computeResources=resources
        )["computeEnvironmentArn"]
        order = [{"order": 1, "computeEnvironment": environment}]
        arn: str = self.batch.create_job_queue(
            jobQueueName=name, priority=1, state="ENABLED", computeEnvironmentOrder=order
        )["jobQueueArn"]
        return arn

    def submit(self, run: str, nodes: int = 1) -> str:
        """A Batch job as the state machine would submit it; gives its id."""
        container = {
            "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/trainer:1",
            "command": ["python3", "-c", "import time; time.sleep(120)"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}],
        }
        kind: dict[str, Any] = {"type": "container", "containerProperties": container}
        if nodes > 1:
            ranges = [{"targetNodes": "0:", "container": container}]
            properties = {"numNodes": nodes, "mainNode": 0, "nodeRangeProperties": ranges}
            kind = {"type": "multinode", "nodeProperties": properties}
        definition = self.batch.register_job_definition(jobDefinitionName=unique("definition"), **kind)[
            "jobDefinitionArn"
        ]
        job: str = self.batch.submit_job(
            jobName=f"{PREFIX}mnist-{run}-0-a0r0d0",
            jobQueue=self.queue,
            jobDefinition=definition,
            tags={"lehr:project": "mnist", "lehr:run": run},
        )["jobId"]
        return job

    def start(self) -> tuple[str, str]:
        """A run that goes on; gives its id and the ARN of its execution."""
        run = unique("r")
        arn: str = self.functions.start_execution(stateMachineArn=self.machine, name=f"mnist-{run}")[
            "executionArn"
        ]
        self.registry.add_run(
            RunRecord(
                project="mnist",
                run=run,
                status="running",
                started_at="2026-01-31T12:00:00.000Z",
                execution_arn=arn,
                code_sha="c0de",
                fingerprint="f",
            )
        )
        return run, arn

    def train(self, run: str, prefix: str = PREFIX) -> str:
        name = f"{prefix}mnist-{run}-0"
        request = training_request(
            name,
            "import time; time.sleep(120)",
            Environment={"LEHR_PROJECT": "mnist", "LEHR_RUN": run},
            OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/runs/mnist/{run}/trials/"},
        )
        self.orchestration.client("sagemaker").create_training_job(**request)
        return name

    def status(self, job: str) -> str:
        return str(self.orchestration.job(job)["TrainingJobStatus"])


@pytest.fixture
def cloud(orchestration: Orchestration) -> Iterator[Cloud]:
    made = Cloud(orchestration)
    yield made
    client: Any = orchestration.client("sagemaker")
    for summary in client.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]:
        client.stop_training_job(TrainingJobName=summary["TrainingJobName"])


def test_one_look_stops_the_job_of_a_stopped_execution_and_no_other(cloud: Cloud) -> None:
    stopped, arn = cloud.start()
    going_on, _ = cloud.start()
    orphan, kept = cloud.train(stopped), cloud.train(going_on)
    foreign = [cloud.train(stopped, prefix=prefix) for prefix in ("theirs-", "lehr-99999999-")]
    cloud.functions.stop_execution(executionArn=arn)
    assert cloud.stopper.look() == Round(seen=2, stopped=[orphan], failed=[])
    assert cloud.status(orphan) in {"Stopping", "Stopped"}
    assert cloud.orchestration.finish_job(orphan)["TrainingJobStatus"] == "Stopped"
    assert {cloud.status(job) for job in (kept, *foreign)} == {"InProgress"}
    ended, running = (cloud.registry.run("mnist", run) for run in (stopped, going_on))
    assert ended is not None
    assert running is not None
    assert (ended.status, running.status) == ("failed", "running")


def test_a_second_look_finds_nothing_to_do(cloud: Cloud) -> None:
    run, arn = cloud.start()
    cloud.train(run)
    cloud.functions.stop_execution(executionArn=arn)
    assert len(cloud.stopper.look().stopped) == 1
    assert cloud.stopper.look() == Round(seen=0, stopped=[], failed=[])


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_batch_job_goes_the_same_way_with_all_of_its_nodes(cloud: Cloud, nodes: int) -> None:
    stopped, arn = cloud.start()
    going_on, _ = cloud.start()
    orphan, kept = cloud.submit(stopped, nodes), cloud.submit(going_on, nodes)

    def job(name: str) -> dict[str, Any]:
        (description,) = cloud.batch.describe_jobs(jobs=[name])["jobs"]
        return dict(description)

    until(lambda: {job(name)["status"] for name in (orphan, kept)} == {"RUNNING"}, 20)
    cloud.functions.stop_execution(executionArn=arn)
    assert cloud.stopper.look() == Round(seen=2, stopped=[f"{PREFIX}mnist-{stopped}-0-a0r0d0"], failed=[])
    until(lambda: job(orphan)["status"] == "FAILED", 20)
    assert "the execution ended as ABORTED" in job(orphan)["statusReason"]
    assert job(kept)["status"] == "RUNNING"
    cloud.batch.terminate_job(jobId=kept, reason="the end of the test")

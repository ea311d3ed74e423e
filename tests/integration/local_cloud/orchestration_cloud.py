"""The server of orchestration_server.py as a fixture, with the few calls that its tests make over and over."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

ROLE = "arn:aws:iam::123456789012:role/states"
BUCKET = "data"


class Orchestration:
    def __init__(self, port: int, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.port = port
        self._url = f"http://localhost:{port}"
        self._clients: dict[tuple[str, Config | None], Any] = {}

    def client(self, service: str, config: Config | None = None) -> Any:
        key = (service, config)
        if key not in self._clients:
            self._clients[key] = boto3.client(
                service,
                endpoint_url=self._url,
                region_name="us-east-1",
                aws_access_key_id="local",
                aws_secret_access_key="local-secret",
                config=config,
            )
        return self._clients[key]

    def put(self, key: str, content: str | bytes) -> None:
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        content: bytes = self.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content

    def start(self, states: dict[str, Any], value: Any = None, **machine: Any) -> str:
        """Start an execution of `states`, the first of which is where it begins; gives its ARN."""
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **machine}
        functions = self.client("stepfunctions")
        arn = functions.create_state_machine(
            name=unique("machine"), definition=json.dumps(definition), roleArn=ROLE
        )["stateMachineArn"]
        execution: str = functions.start_execution(
            stateMachineArn=arn, name=unique("run"), input=json.dumps(value or {})
        )["executionArn"]
        return execution

    def execution(self, arn: str) -> dict[str, Any]:
        description: dict[str, Any] = self.client("stepfunctions").describe_execution(executionArn=arn)
        return description

    def finish(self, arn: str, limit_s: float = 40) -> dict[str, Any]:
        description: dict[str, Any] = until(lambda: ended(self.execution(arn)), limit_s)
        return description

    def run(self, states: dict[str, Any], value: Any = None, **machine: Any) -> dict[str, Any]:
        """Execute to the end and give DescribeExecution."""
        return self.finish(self.start(states, value, **machine))

    def output(self, states: dict[str, Any], value: Any = None) -> Any:
        """What an execution that has to succeed gives."""
        end = self.run(states, value)
        assert end["status"] == "SUCCEEDED", end
        return json.loads(end["output"])

    def history(self, arn: str, **options: Any) -> list[dict[str, Any]]:
        page = self.client("stepfunctions").get_execution_history(
            executionArn=arn, maxResults=1000, **options
        )
        events: list[dict[str, Any]] = page["events"]
        return events

    def job(self, name: str) -> dict[str, Any]:
        description: dict[str, Any] = self.client("sagemaker").describe_training_job(TrainingJobName=name)
        return description

    def finish_job(self, name: str, limit_s: float = 40) -> dict[str, Any]:
        """Wait for the end of a training job and give DescribeTrainingJob."""
        running = ("InProgress", "Stopping")
        description: dict[str, Any] = until(
            lambda: job if (job := self.job(name))["TrainingJobStatus"] not in running else None, limit_s
        )
        return description

    def log(self, job: str) -> list[str]:
        """The lines that a training job wrote."""
        logs, group = self.client("logs"), "/aws/sagemaker/TrainingJobs"
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/algo-1-")
        stream = streams["logStreams"][0]["logStreamName"]
        events = logs.get_log_events(
            logGroupName=group, logStreamName=stream, startFromHead=True, limit=10_000
        )["events"]
        return [event["message"] for event in events]


def training_request(name: str, script: str, **members: Any) -> dict[str, Any]:
    """CreateTrainingJob for a trainer that is a line of Python."""
    return {
        "TrainingJobName": name,
        "RoleArn": "arn:aws:iam::123456789012:role/training",
        "AlgorithmSpecification": {
            "TrainingImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/trainer:1",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "-c"],
            "ContainerArguments": [script],
        },
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/output"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.g5.xlarge", "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **members,
    }


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def ended(execution: dict[str, Any]) -> dict[str, Any] | None:
    return execution if execution["status"] != "RUNNING" else None


def until(probe: Callable[[], Any], limit_s: float) -> Any:
    """The first answer of `probe` that is not None or False; fails after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        answer = probe()
        if answer is not None and answer is not False:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{probe} had no answer within {limit_s} s")


@pytest.fixture(scope="module")
def orchestration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orchestration]:
    with serving(tmp_path_factory.mktemp("orchestration")) as cloud:
        yield cloud


@contextlib.contextmanager
def serving(state_dir: Path) -> Iterator[Orchestration]:
    """A server for as long as the block lasts; it is closed in good order at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (state_dir / "server.log").open("w")
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("orchestration_server.py")), str(port), str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "LEHR_TEST_HOST_SECRET": "of-the-host",
        },
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        assert server.stdout.readline().strip() == "ready", (state_dir / "server.log").read_text()
        cloud = Orchestration(port, state_dir)
        cloud.client("s3").create_bucket(Bucket=BUCKET)
        yield cloud
        server.stdin.close()
        assert server.stdout.readline().strip() == "closed"
        assert server.wait(timeout=30) == 0
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
        log.close()

"""`eval "$(lehr local env)"`, and then the AWS CLI as it is: a client that knows nothing of the local cloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.workplace import ROOT, Workplace

CLI = ROOT / ".venv-sam/bin/aws"
Aws = Callable[..., Any]

pytestmark = [
    pytest.mark.local_only("it is about what `lehr local env` prints"),
    pytest.mark.skipif(not CLI.exists(), reason="the AWS CLI is not installed: make setup"),
]


def run(place: Workplace, *command: str, **variables: str) -> str:
    result = subprocess.run(
        command,
        cwd=place.folder,
        env=place.target.environment() | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def variables(workplace: Workplace) -> dict[str, str]:
    (printed,) = workplace.lehr("local", "env").events
    return printed


@pytest.fixture(scope="module")
def aws(workplace: Workplace, variables: dict[str, str]) -> Aws:
    """Run the CLI; returns what it prints, read as JSON where it is."""

    def call(*arguments: str) -> Any:
        printed = run(workplace, str(CLI), *arguments, "--output", "json", **variables)
        try:
            return json.loads(printed)
        except ValueError:
            return printed

    return call


def test_the_line_of_the_readme_lists_the_buckets(workplace: Workplace) -> None:
    line = 'eval "$(lehr local env)" && aws s3 ls'
    assert line in (ROOT / "README.md").read_text()
    folders = [str(Path(sys.executable).parent), str(CLI.parent), os.environ["PATH"]]
    listed = run(workplace, "bash", "-c", line, PATH=":".join(folders))
    names = {row.split()[-1] for row in listed.splitlines()}
    assert {workplace.outputs()[key] for key in ("DataBucket", "ArtifactBucket")} <= names


def test_files_go_up_in_parts_and_come_back(workplace: Workplace, aws: Aws, tmp_path: Path) -> None:
    # Above 8 MB the CLI sends and fetches in parts, several at once.
    content = os.urandom(9 << 20)
    (tmp_path / "sent").write_bytes(content)
    project = workplace.project("by-hand")
    place = f"s3://{workplace.outputs()['DataBucket']}/incoming/{project}/sent"
    aws("s3", "cp", str(tmp_path / "sent"), place)
    aws("s3", "cp", place, str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == content
    assert f"{len(content)} sent" in aws("s3", "ls", place)


def test_the_stack_shows_its_outputs(workplace: Workplace, aws: Aws) -> None:
    (stack,) = aws("cloudformation", "describe-stacks", "--stack-name", "lehr")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert outputs == workplace.outputs()


def test_a_function_answers_and_its_log_and_its_trace_in_the_table_are_found(
    workplace: Workplace, aws: Aws, tmp_path: Path
) -> None:
    project, outputs = workplace.project("nobody"), workplace.outputs()
    request = json.dumps({"project": project, "trigger": "by-hand"})
    function = outputs["StartRunFunction"]
    called = aws(
        *("lambda", "invoke", "--function-name", function, "--payload", request, str(tmp_path / "answer"))
    )
    assert called["StatusCode"] == 200
    assert json.loads((tmp_path / "answer").read_bytes())["outcome"] == "refused"
    group = "/aws/lambda/lehr-start-run"
    events = aws("logs", "filter-log-events", "--log-group-name", group, "--filter-pattern", "REPORT")
    assert "Duration:" in events["events"][-1]["message"]
    items = aws("dynamodb", "scan", "--table-name", outputs["RegistryTable"])["Items"]
    assert f"project#{project}" in {item["pk"]["S"] for item in items}


def test_an_execution_is_started_described_and_listed(workplace: Workplace, aws: Aws) -> None:
    """Its plan is not there, so it fails: what matters is that the CLI can follow it."""
    project, machine = workplace.project("no-plan"), workplace.outputs()["StateMachineArn"]
    plan = {"bucket": workplace.outputs()["ArtifactBucket"], "key": f"runs/{project}/1/plan.json"}
    whole = json.loads((ROOT / "tests/unit/core/golden/run_input.json").read_text())
    request = json.dumps(whole | {"project": project, "run": "1", "plan": plan})
    started = aws("stepfunctions", "start-execution", "--state-machine-arn", machine, "--input", request)
    describe = ("stepfunctions", "describe-execution", "--execution-arn", started["executionArn"])
    deadline = time.monotonic() + 30
    while (described := aws(*describe))["status"] == "RUNNING":
        assert time.monotonic() < deadline
    assert (described["status"], "PrepareShards" in described["cause"]) == ("FAILED", True)
    listed = aws("stepfunctions", "list-executions", "--state-machine-arn", machine)["executions"]
    assert started["executionArn"] in {execution["executionArn"] for execution in listed}


def test_training_jobs_are_listed(workplace: Workplace, aws: Aws) -> None:
    listed = aws("sagemaker", "list-training-jobs", "--max-items", "1000")["TrainingJobSummaries"]
    known = workplace.client("sagemaker").list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
    assert {job["TrainingJobName"] for job in known} <= {job["TrainingJobName"] for job in listed}


def test_an_event_is_put_on_the_bus(aws: Aws) -> None:
    entry = {"Source": "a.person", "DetailType": "Greeting", "Detail": "{}"}
    assert aws("events", "put-events", "--entries", json.dumps([entry]))["FailedEntryCount"] == 0


def test_queues_are_found_with_their_attributes(aws: Aws, variables: dict[str, str]) -> None:
    """Version 1 of the CLI calls SQS by an old name of AWS's own unless the address is given on the line."""
    here = ("--endpoint-url", variables["AWS_ENDPOINT_URL"])
    url = next(url for url in aws(*here, "sqs", "list-queues")["QueueUrls"] if "TriggerQueue" in url)
    asked = aws(*here, "sqs", "get-queue-attributes", "--queue-url", url, "--attribute-names", "All")
    assert "deadLetterTargetArn" in asked["Attributes"]["RedrivePolicy"]

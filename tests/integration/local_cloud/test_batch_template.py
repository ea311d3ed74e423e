"""Batch and schedules as resources of a template, in a whole local cloud, and its commands for jobs."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.local_cloud.functions_cloud import eventually
from tests.integration.local_cloud.test_control import ANY_PORTS, ROOT, client, lehr_local

TEMPLATE = """
Parameters:
  Epochs: {Type: String, Default: "1"}
  Once: {Type: String}
Resources:
  Spot:
    Type: AWS::Batch::ComputeEnvironment
    Properties:
      Type: MANAGED
      State: ENABLED
      ComputeResources:
        Type: SPOT
        AllocationStrategy: SPOT_PRICE_CAPACITY_OPTIMIZED
        MinvCpus: 0
        MaxvCpus: 64
        InstanceTypes: [g6.xlarge, g7e.2xlarge]
        Subnets: [subnet-1]
        SecurityGroupIds: [sg-1]
        InstanceRole: arn:aws:iam::123456789012:instance-profile/ecsInstanceRole
  Queue:
    Type: AWS::Batch::JobQueue
    Properties:
      Priority: 1
      ComputeEnvironmentOrder: [{Order: 1, ComputeEnvironment: !Ref Spot}]
  Definition:
    Type: AWS::Batch::JobDefinition
    Properties:
      Type: container
      PlatformCapabilities: [EC2]
      Parameters: {epochs: !Ref Epochs}
      RetryStrategy:
        Attempts: 2
        EvaluateOnExit: [{OnStatusReason: "Host EC2*", Action: RETRY}, {OnReason: "*", Action: EXIT}]
      Timeout: {AttemptDurationSeconds: 600}
      ContainerProperties:
        Image: trainer
        Command:
          - python3
          - -c
          - |
            import os, sys, time
            print('epochs', sys.argv[1], 'attempt', os.environ['AWS_BATCH_JOB_ATTEMPT'], flush=True)
            time.sleep(60 if sys.argv[1] == '9' and os.environ['AWS_BATCH_JOB_ATTEMPT'] == '1' else 0)
          - Ref::epochs
        ResourceRequirements: [{Type: VCPU, Value: "4"}, {Type: MEMORY, Value: "8192"}]
        Environment: [{Name: A, Value: b}]
  Machine:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      RoleArn: arn:aws:iam::123456789012:role/machine
      DefinitionSubstitutions:
        Queue: !GetAtt Queue.JobQueueArn
        Definition: !Ref Definition
      Definition:
        StartAt: Train
        QueryLanguage: JSONata
        States:
          Train:
            Type: Task
            Resource: arn:aws:states:::batch:submitJob.sync
            Arguments: {JobName: trial, JobQueue: "${Queue}", JobDefinition: "${Definition}"}
            Output: "{% $states.result.Status %}"
            End: true
  Work:
    Type: AWS::SQS::Queue
  OnceOnly:
    Type: AWS::Scheduler::Schedule
    Properties:
      ScheduleExpression: !Ref Once
      FlexibleTimeWindow: {Mode: "OFF"}
      Target: {Arn: !GetAtt Work.Arn, RoleArn: arn:aws:iam::123456789012:role/scheduler, Input: "now"}
Outputs:
  Queue: {Value: !Ref Queue}
  Environment: {Value: !GetAtt Spot.ComputeEnvironmentArn}
  Definition: {Value: !GetAtt Definition.JobDefinitionArn}
  Machine: {Value: !Ref Machine}
  Work: {Value: !Ref Work}
  Schedule: {Value: !Ref OnceOnly}
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    # The name by which `lehr` looks for a cloud in a folder.
    state = tmp_path_factory.mktemp("batch") / ".lehr"
    done = lehr_local("up", "--state", str(state), "--json", *ANY_PORTS)
    assert done.returncode == 0, done.stderr
    yield {**json.loads(done.stdout), "state": state}
    lehr_local("down", "--state", str(state))


def once(seconds: int = 3) -> str:
    moment = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(seconds=seconds)
    return f"at({moment:%Y-%m-%dT%H:%M:%S})"


def deploy(cloud: dict[str, Any], *, is_update: bool = False, **parameters: str) -> dict[str, str]:
    cloudformation = client(cloud, "cloudformation")
    call = cloudformation.update_stack if is_update else cloudformation.create_stack
    call(
        StackName="jobs",
        TemplateBody=TEMPLATE,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    (stack,) = cloudformation.describe_stacks(StackName="jobs")["Stacks"]
    assert stack["StackStatus"] == ("UPDATE_COMPLETE" if is_update else "CREATE_COMPLETE")
    return {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}


def execute(cloud: dict[str, Any], machine: str) -> Any:
    states = client(cloud, "stepfunctions")
    arn = states.start_execution(stateMachineArn=machine, name=f"run-{os.urandom(4).hex()}", input="{}")[
        "executionArn"
    ]
    assert eventually(lambda: states.describe_execution(executionArn=arn)["status"] != "RUNNING", 60)
    execution = states.describe_execution(executionArn=arn)
    assert execution["status"] == "SUCCEEDED", execution
    return json.loads(execution["output"])


def lines(cloud: dict[str, Any]) -> list[str]:
    logs = client(cloud, "logs")
    return [event["message"] for event in logs.filter_log_events(logGroupName="/aws/batch/job")["events"]]


def test_a_template_with_batch_and_a_schedule_lives_through_an_update(cloud: dict[str, Any]) -> None:
    begun = datetime.datetime.now(tz=datetime.UTC)
    names = deploy(cloud, Once=once())
    assert names["Queue"].startswith("arn:aws:batch:us-east-1:123456789012:job-queue/jobs-Queue-")
    assert ":compute-environment/jobs-Spot-" in names["Environment"]
    assert names["Definition"].endswith(":1")
    assert names["Schedule"].startswith("jobs-OnceOnly-")
    assert execute(cloud, names["Machine"]) == "SUCCEEDED"
    assert lines(cloud) == ["epochs 1 attempt 1"]

    # The schedule fires once, at its time.
    received = client(cloud, "sqs").receive_message(QueueUrl=names["Work"], WaitTimeSeconds=10)["Messages"]
    assert [message["Body"] for message in received] == ["now"]
    assert datetime.datetime.now(tz=datetime.UTC) - begun > datetime.timedelta(seconds=2)

    # A changed definition is the next revision, which the state machine then names; the queue stays.
    changed = deploy(cloud, is_update=True, Once=once(3600), Epochs="9")
    assert changed["Definition"].endswith(":2")
    assert changed["Queue"] == names["Queue"]
    batch = client(cloud, "batch")
    revisions = batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    assert [item["revision"] for item in revisions] == [2]
    assert revisions[0]["retryStrategy"]["attempts"] == 2


def test_the_host_of_a_job_is_taken_away_by_a_command(cloud: dict[str, Any]) -> None:
    batch = client(cloud, "batch")
    (definition,) = batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    (queue,) = batch.describe_job_queues()["jobQueues"]
    job = batch.submit_job(
        jobName="trial", jobQueue=queue["jobQueueArn"], jobDefinition=definition["jobDefinitionArn"]
    )["jobId"]
    assert eventually(lambda: "epochs 9 attempt 1" in lines(cloud))
    done = lehr_local("interrupt", job, "--state", str(cloud["state"]))
    assert done.returncode == 0, done.stderr
    assert eventually(lambda: batch.describe_jobs(jobs=[job])["jobs"][0]["status"] == "SUCCEEDED")
    assert lines(cloud)[-1] == "epochs 9 attempt 2"
    again = lehr_local("interrupt", job, "--state", str(cloud["state"]))
    assert again.returncode == 2
    assert "can be interrupted" in again.stderr


def test_the_logs_of_jobs_are_read_by_the_name_of_their_definition(cloud: dict[str, Any]) -> None:
    def logs(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-c",
                "from lehr_cli.main import run; run()",
                "local",
                "logs",
                *arguments,
                "--json",
            ],
            cwd=cloud["state"].parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    found = [json.loads(line) for line in logs("jobs-Definition").stdout.splitlines()]
    assert [document["message"] for document in found][-1] == "epochs 9 attempt 2"
    assert all(document["source"].startswith("jobs-Definition-") for document in found)
    missing = logs("nobody")
    assert missing.returncode != 0
    assert "nobody" in missing.stderr


def test_a_schedule_that_never_fires_fails_the_deployment(cloud: dict[str, Any]) -> None:
    template = """
Resources:
  Rule: {Type: AWS::Events::Rule, Properties: {ScheduleExpression: cron(0 10 * * * *)}}
"""
    cloudformation = client(cloud, "cloudformation")
    cloudformation.create_stack(StackName="broken", TemplateBody=template)
    events = cloudformation.describe_stack_events(StackName="broken")["StackEvents"]
    reasons = [event.get("ResourceStatusReason", "") for event in events]
    assert any("cron(0 10 * * * *)" in reason for reason in reasons)


def test_a_deleted_stack_leaves_nothing_of_batch(cloud: dict[str, Any]) -> None:
    client(cloud, "cloudformation").delete_stack(StackName="jobs")
    batch = client(cloud, "batch")
    assert batch.describe_job_queues()["jobQueues"] == []
    assert batch.describe_compute_environments()["computeEnvironments"] == []
    assert batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"] == []
    with pytest.raises(ClientError):
        client(cloud, "scheduler").get_schedule(Name="jobs-OnceOnly")
    assert client(cloud, "scheduler").list_schedules()["Schedules"] == []

"""AWS Batch of the local cloud, through its API and from state machines, with programs of a few lines."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lehr_local.batch_request import JobPlan
from lehr_local.batch_run import BatchJob, BatchRun
from lehr_local.processes import Supervisor
from lehr_local.settings import LocalSettings
from tests.integration.local_cloud.orchestration_cloud import (
    Orchestration,
    orchestration,
    unique,
    until,
)

__all__ = ["orchestration"]

PRELUDE = "import json, os, pathlib, signal, sys, time\n"
SLEEPS = "print('begun', flush=True)\ntime.sleep(60)"
ENDS = ("SUCCEEDED", "FAILED")
RESOURCES = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}]


@pytest.fixture(scope="module")
def queue(orchestration: Orchestration) -> str:
    batch = orchestration.client("batch")
    environment = batch.create_compute_environment(
        computeEnvironmentName="spot",
        type="MANAGED",
        computeResources={
            "type": "SPOT",
            "minvCpus": 0,
            "maxvCpus": 64,
            "instanceTypes": ["g6.xlarge", "p6-b200.48xlarge"],
            "subnets": ["subnet-of-the-user"],
            "securityGroupIds": ["sg-of-the-user"],
            "instanceRole": "ecsInstanceRole",
        },
    )["computeEnvironmentArn"]
    arn: str = batch.create_job_queue(
        jobQueueName="training",
        priority=1,
        state="ENABLED",
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
    )["jobQueueArn"]
    return arn


def container(script: str, **members: Any) -> dict[str, Any]:
    return {
        "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/trainer:1",
        "command": ["python3", "-c", PRELUDE + script],
        "resourceRequirements": RESOURCES,
        **members,
    }


def register(cloud: Orchestration, script: str, **members: Any) -> str:
    name = unique("definition")
    answer = cloud.client("batch").register_job_definition(
        jobDefinitionName=name, type="container", containerProperties=container(script), **members
    )
    arn: str = answer["jobDefinitionArn"]
    return arn


def submit(cloud: Orchestration, queue: str, definition: str, **members: Any) -> str:
    job: str = cloud.client("batch").submit_job(
        jobName="job", jobQueue=queue, jobDefinition=definition, **members
    )["jobId"]
    return job


def describe(cloud: Orchestration, job_id: str) -> dict[str, Any]:
    (job,) = cloud.client("batch").describe_jobs(jobs=[job_id])["jobs"]
    description: dict[str, Any] = job
    return description


def finish(cloud: Orchestration, job_id: str, limit_s: float = 40) -> dict[str, Any]:
    job: dict[str, Any] = until(
        lambda: job if (job := describe(cloud, job_id))["status"] in ENDS else None, limit_s
    )
    return job


def run(cloud: Orchestration, queue: str, script: str, **members: Any) -> dict[str, Any]:
    return finish(cloud, submit(cloud, queue, register(cloud, script), **members))


def log(cloud: Orchestration, job: dict[str, Any]) -> list[str]:
    events = cloud.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=job["container"]["logStreamName"], startFromHead=True
    )["events"]
    return [event["message"] for event in events]


def wait_for_begin(cloud: Orchestration, job_id: str) -> None:
    def is_there() -> bool:
        job = describe(cloud, job_id)
        try:
            return job["status"] == "RUNNING" and "begun" in log(cloud, job)
        except (ClientError, KeyError):
            return False

    until(is_there, 20)


def test_a_job_that_succeeds_says_so_with_its_times_its_code_and_its_log(
    orchestration: Orchestration, queue: str
) -> None:
    job = run(orchestration, queue, "print('hello')\nprint('there', file=sys.stderr)")
    assert job["status"] == "SUCCEEDED"
    assert job["statusReason"] == "Essential container in task exited"
    assert job["container"]["exitCode"] == 0
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]
    assert sorted(log(orchestration, job)) == ["hello", "there"]
    (attempt,) = job["attempts"]
    assert attempt["container"]["logStreamName"] == job["container"]["logStreamName"]


def test_a_job_that_fails_keeps_its_exit_code(orchestration: Orchestration, queue: str) -> None:
    job = run(orchestration, queue, "sys.exit(3)")
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 3)


def test_the_environment_is_that_of_the_job_and_not_that_of_the_host(
    orchestration: Orchestration, queue: str
) -> None:
    overrides = {"environment": [{"name": "EPOCHS", "value": "3"}, {"name": "ROOT", "value": "/opt/ml/x"}]}
    job = run(orchestration, queue, "print(json.dumps(dict(os.environ)))", containerOverrides=overrides)
    found = json.loads(log(orchestration, job)[0])
    assert found["EPOCHS"] == "3"
    assert found["ROOT"] == f"{found['LEHR_ML_ROOT']}/x"
    assert found["AWS_BATCH_JOB_ID"] == job["jobId"]
    assert found["AWS_BATCH_JOB_ATTEMPT"] == "1"
    assert (found["AWS_BATCH_JQ_NAME"], found["AWS_BATCH_CE_NAME"]) == ("training", "spot")
    assert Path(found["HOME"]).is_relative_to(orchestration.state_dir / "jobs" / "batch")
    assert found["AWS_ENDPOINT_URL"].startswith("http://localhost:")
    # Without a job role a container has no credentials; and nothing leaks from this machine.
    assert not found.keys() & {"AWS_ACCESS_KEY_ID", "LEHR_TEST_HOST_SECRET", "PYTHONPATH"}
    assert "AWS_BATCH_JOB_NUM_NODES" not in found
    assert not Path(found["LEHR_ML_ROOT"]).exists()


def test_a_job_role_brings_credentials(orchestration: Orchestration, queue: str) -> None:
    script = "print(os.environ['AWS_ACCESS_KEY_ID'])"
    definition = orchestration.client("batch").register_job_definition(
        jobDefinitionName=unique("definition"),
        type="container",
        containerProperties=container(script, jobRoleArn="arn:aws:iam::123456789012:role/job"),
    )["jobDefinitionArn"]
    job = finish(orchestration, submit(orchestration, queue, definition))
    assert log(orchestration, job) == ["local"]


def test_parameters_reach_the_command(orchestration: Orchestration, queue: str) -> None:
    batch = orchestration.client("batch")
    properties = container("")
    properties["command"] = ["python3", "-c", "import sys; print(sys.argv[1:])", "Ref::epochs", "Ref::lr"]
    name = unique("definition")
    batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        parameters={"epochs": "1", "lr": "0.1"},
        containerProperties=properties,
    )
    job = finish(orchestration, submit(orchestration, queue, name, parameters={"epochs": "7"}))
    assert log(orchestration, job) == ["['7', '0.1']"]


def test_an_attempt_that_fails_is_followed_by_another(orchestration: Orchestration, queue: str) -> None:
    script = "sys.exit(0 if os.environ['AWS_BATCH_JOB_ATTEMPT'] == '3' else 5)"
    job = run(orchestration, queue, script, retryStrategy={"attempts": 4})
    assert job["status"] == "SUCCEEDED"
    assert [item["container"]["exitCode"] for item in job["attempts"]] == [5, 5, 0]


def test_a_rule_for_an_exit_code_ends_the_attempts(orchestration: Orchestration, queue: str) -> None:
    rules = [{"onExitCode": "5", "action": "EXIT"}]
    job = run(orchestration, queue, "sys.exit(5)", retryStrategy={"attempts": 4, "evaluateOnExit": rules})
    assert (job["status"], len(job["attempts"])) == ("FAILED", 1)


def test_a_terminated_job_gets_sigterm_and_fails_with_the_reason(
    orchestration: Orchestration, queue: str
) -> None:
    script = (
        "def leave(*_): print('leaving', flush=True); sys.exit(0)\nsignal.signal(signal.SIGTERM, leave)\n"
    )
    definition = register(orchestration, script + SLEEPS, retryStrategy={"attempts": 3})
    job_id = submit(orchestration, queue, definition)
    wait_for_begin(orchestration, job_id)
    orchestration.client("batch").terminate_job(jobId=job_id, reason="too dear")
    job = finish(orchestration, job_id, 15)
    assert (job["status"], job["statusReason"], job["isTerminated"]) == ("FAILED", "too dear", True)
    assert len(job["attempts"]) == 1
    assert log(orchestration, job)[-1] == "leaving"


def test_a_cancel_leaves_a_running_job_alone(orchestration: Orchestration, queue: str) -> None:
    job_id = submit(orchestration, queue, register(orchestration, SLEEPS))
    wait_for_begin(orchestration, job_id)
    orchestration.client("batch").cancel_job(jobId=job_id, reason="changed my mind")
    time.sleep(0.5)
    assert describe(orchestration, job_id)["status"] == "RUNNING"
    orchestration.client("batch").terminate_job(jobId=job_id, reason="done")
    finish(orchestration, job_id, 15)


def test_a_job_waits_for_those_it_depends_on(orchestration: Orchestration, queue: str) -> None:
    first = submit(orchestration, queue, register(orchestration, "time.sleep(1)"))
    definition = register(orchestration, "")
    second = submit(orchestration, queue, definition, dependsOn=[{"jobId": first}])
    assert describe(orchestration, second)["status"] in ("SUBMITTED", "PENDING")
    done = finish(orchestration, second)
    assert done["status"] == "SUCCEEDED"
    assert done["startedAt"] >= describe(orchestration, first)["stoppedAt"]


def test_a_job_fails_when_one_it_depends_on_has_failed(orchestration: Orchestration, queue: str) -> None:
    first = submit(orchestration, queue, register(orchestration, "sys.exit(1)"))
    second = submit(orchestration, queue, register(orchestration, ""), dependsOn=[{"jobId": first}])
    job = finish(orchestration, second)
    assert (job["status"], job["attempts"]) == ("FAILED", [])
    assert "ependen" in job["statusReason"]


def test_a_waiting_job_can_be_cancelled(orchestration: Orchestration, queue: str) -> None:
    first = submit(orchestration, queue, register(orchestration, SLEEPS))
    second = submit(orchestration, queue, register(orchestration, ""), dependsOn=[{"jobId": first}])
    orchestration.client("batch").cancel_job(jobId=second, reason="not needed")
    job = finish(orchestration, second, 10)
    assert (job["status"], job["statusReason"], job["isCancelled"]) == ("FAILED", "not needed", True)
    orchestration.client("batch").terminate_job(jobId=first, reason="done")
    finish(orchestration, first, 15)


def test_an_array_runs_each_index_and_fails_when_one_child_fails(
    orchestration: Orchestration, queue: str
) -> None:
    script = "index = int(os.environ['AWS_BATCH_JOB_ARRAY_INDEX'])\nprint(index)\nsys.exit(index == 1)"
    job = run(orchestration, queue, script, arrayProperties={"size": 3})
    assert job["status"] == "FAILED"
    summary = job["arrayProperties"]["statusSummary"]
    assert (summary["SUCCEEDED"], summary["FAILED"]) == (2, 1)
    children = [describe(orchestration, f"{job['jobId']}:{index}") for index in range(3)]
    assert [log(orchestration, child) for child in children] == [["0"], ["1"], ["2"]]
    assert [child["status"] for child in children] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]


def register_nodes(cloud: Orchestration, main: str, worker: str, count: int = 3) -> str:
    arn: str = cloud.client("batch").register_job_definition(
        jobDefinitionName=unique("nodes"),
        type="multinode",
        nodeProperties={
            "numNodes": count,
            "mainNode": 0,
            "nodeRangeProperties": [
                {"targetNodes": "0", "container": container(main)},
                {"targetNodes": "1:", "container": container(worker)},
            ],
        },
    )["jobDefinitionArn"]
    return arn


def test_the_nodes_of_a_multi_node_job_meet_at_the_main_node(
    orchestration: Orchestration, queue: str
) -> None:
    listen = (
        "import socket\nprint(json.dumps({k: v for k, v in os.environ.items() if 'NODE' in k}))\n"
        "found = socket.create_server(('127.0.0.1', 0))\n"
        "pathlib.Path(os.environ['PORT_FILE']).write_text(str(found.getsockname()[1]))\n"
        "print(sorted(found.accept()[0].recv(9).decode() for _ in range(2)), flush=True)\n"
    )
    call = (
        "import socket\nfile = pathlib.Path(os.environ['PORT_FILE'])\n"
        "while not (file.exists() and file.read_text()): time.sleep(0.02)\n"
        "host = os.environ['AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS']\n"
        "peer = socket.create_connection((host, int(file.read_text())))\n"
        "peer.send(os.environ['AWS_BATCH_JOB_NODE_INDEX'].encode())\ntime.sleep(60)"
    )
    port_file = orchestration.state_dir / unique("port")
    environment = [{"name": "PORT_FILE", "value": str(port_file)}]
    definition = register_nodes(orchestration, listen, call)
    overrides = [{"targetNodes": "0:", "containerOverrides": {"environment": environment}}]
    begun = time.monotonic()
    job_id = submit(orchestration, queue, definition, nodeOverrides={"nodePropertyOverrides": overrides})
    job = finish(orchestration, job_id)
    # The workers sleep for a minute: the job has ended with its main node.
    assert time.monotonic() - begun < 30
    assert job["status"] == "SUCCEEDED"
    variables, met = log(orchestration, job)
    assert met == "['1', '2']"
    assert json.loads(variables) == {
        "AWS_BATCH_JOB_NUM_NODES": "3",
        "AWS_BATCH_JOB_NODE_INDEX": "0",
        "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0",
    }
    assert job["nodeProperties"]["numNodes"] == 3
    node = describe(orchestration, f"{job_id}#1")
    assert node["nodeDetails"] == {"nodeIndex": 1, "isMainNode": False}
    registered = orchestration.client("batch").describe_job_definitions(jobDefinitions=[definition])
    assert registered["jobDefinitions"][0]["nodeProperties"]["numNodes"] == 3


def test_jobs_are_listed_by_queue_and_status(orchestration: Orchestration, queue: str) -> None:
    batch = orchestration.client("batch")
    job_id = submit(orchestration, queue, register(orchestration, ""))
    finish(orchestration, job_id)
    done = batch.list_jobs(jobQueue="training", jobStatus="SUCCEEDED")["jobSummaryList"]
    assert job_id in [item["jobId"] for item in done]
    assert job_id not in [item["jobId"] for item in batch.list_jobs(jobQueue=queue)["jobSummaryList"]]


def test_a_job_that_cannot_exist_is_refused(orchestration: Orchestration, queue: str) -> None:
    with pytest.raises(ClientError, match="does not exist"):
        submit(orchestration, queue, "no-such-definition")
    with pytest.raises(ClientError, match="does not exist"):
        submit(orchestration, "no-such-queue", register(orchestration, ""))


def task(queue: str, definition: str, **members: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::batch:submitJob.sync",
        "Arguments": {"JobName": "train", "JobQueue": queue, "JobDefinition": definition, **members},
        "End": True,
    }


def test_a_state_waits_for_its_job_and_gets_its_description(orchestration: Orchestration, queue: str) -> None:
    overrides = {"Environment": [{"Name": "EPOCHS", "Value": "3"}]}
    definition = register(orchestration, "print(os.environ['EPOCHS'], os.environ['MANAGED_BY_AWS'])")
    output = orchestration.output({"Train": task(queue, definition, ContainerOverrides=overrides)})
    assert (output["Status"], output["Container"]["ExitCode"]) == ("SUCCEEDED", 0)
    assert log(orchestration, describe(orchestration, output["JobId"])) == ["3 STARTED_BY_STEP_FUNCTIONS"]


def test_a_failed_job_fails_its_state_with_its_description_as_the_cause(
    orchestration: Orchestration, queue: str
) -> None:
    state = task(queue, register(orchestration, "sys.exit(4)"))
    state["Catch"] = [
        {"ErrorEquals": ["States.TaskFailed"], "Next": "Caught", "Output": "{% $states.errorOutput %}"}
    ]
    output = orchestration.output({"Train": state, "Caught": {"Type": "Succeed"}})
    cause = json.loads(output["Cause"])
    assert (cause["Status"], cause["Container"]["ExitCode"]) == ("FAILED", 4)


def running_job(cloud: Orchestration, queue: str) -> str:
    def newest() -> str | None:
        jobs = cloud.client("batch").list_jobs(jobQueue=queue, jobStatus="RUNNING")["jobSummaryList"]
        return jobs[0]["jobId"] if jobs else None

    job_id: str = until(newest, 20)
    return job_id


def test_stopping_the_execution_terminates_the_job_within_seconds(
    orchestration: Orchestration, queue: str
) -> None:
    arn = orchestration.start({"Train": task(queue, register(orchestration, SLEEPS))})
    job_id = running_job(orchestration, queue)
    orchestration.client("stepfunctions").stop_execution(executionArn=arn)
    job = finish(orchestration, job_id, 10)
    assert (job["status"], job["isTerminated"]) == ("FAILED", True)


def test_a_timeout_of_the_state_terminates_the_job_within_seconds(
    orchestration: Orchestration, queue: str
) -> None:
    state = {**task(queue, register(orchestration, SLEEPS)), "TimeoutSeconds": 2}
    arn = orchestration.start({"Train": state})
    job_id = running_job(orchestration, queue)
    job = finish(orchestration, job_id, 10)
    assert (job["status"], job["isTerminated"]) == ("FAILED", True)
    assert orchestration.finish(arn)["error"] == "States.Timeout"


def test_nodes_are_submitted_from_a_state_with_overrides_of_their_own(
    orchestration: Orchestration, queue: str
) -> None:
    definition = register_nodes(orchestration, "print(os.environ['EPOCHS'])", "time.sleep(60)", count=2)
    environment = {"Environment": [{"Name": "EPOCHS", "Value": "5"}]}
    overrides = {"NodePropertyOverrides": [{"TargetNodes": "0:", "ContainerOverrides": environment}]}
    output = orchestration.output({"Train": task(queue, definition, NodeOverrides=overrides)})
    assert log(orchestration, describe(orchestration, output["JobId"])) == ["5"]


@pytest.fixture
def alone(tmp_path: Path) -> Any:
    """Runs jobs without a server, for what the API allows only after a minute or on a real host."""
    supervisor = Supervisor()
    settings = LocalSettings(state_dir=tmp_path, port=1, https_port=1)

    def make(script: str, **members: Any) -> BatchRun:
        resolved = JobPlan(definition="d", containers=(container(script),), **members)
        job = BatchJob(
            job_id=unique("id"),
            arn="a",
            name="n",
            queue="q",
            queue_arn="q",
            compute_environment="c",
            definition_name="d",
            plan=resolved,
        )
        return BatchRun(job, settings, supervisor)

    yield make
    supervisor.close()


def test_an_attempt_that_runs_out_of_time_fails_and_is_not_repeated(alone: Any) -> None:
    run = alone(SLEEPS, timeout_s=1, retry_strategy={"attempts": 3})
    run.run()
    assert (run.job.status, run.job.status_reason) == ("FAILED", "Job attempt duration exceeded timeout")
    assert [item["container"]["exitCode"] for item in run.job.attempts] == [128 + signal.SIGTERM]


def test_a_reclaimed_host_is_a_reason_of_its_own_and_the_job_runs_again(alone: Any) -> None:
    script = "sys.exit(0) if os.environ['AWS_BATCH_JOB_ATTEMPT'] == '2' else time.sleep(60)"
    rules = [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]
    run = alone(script, retry_strategy={"attempts": 3, "evaluateOnExit": rules})
    thread = threading.Thread(target=run.run)
    thread.start()
    until(run.reclaim_host, 10)
    thread.join(20)
    assert run.job.status == "SUCCEEDED"
    first, second = run.job.attempts
    assert first["statusReason"].startswith("Host EC2 (instance i-")
    assert "exitCode" not in first["container"]
    assert second["container"]["exitCode"] == 0

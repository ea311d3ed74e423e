"""Managed spot training: an instance is taken away on request, and the job goes on from its checkpoints."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lehr_local.control_requests import HEADER, ask
from lehr_local.errors import LocalCloudError
from tests.integration.local_cloud.orchestration_cloud import (
    BUCKET,
    Orchestration,
    orchestration,
    unique,
    until,
)
from tests.integration.local_cloud.test_batch_jobs import (
    describe,
    finish,
    queue,
    register,
    submit,
    wait_for_begin,
)
from tests.integration.local_cloud.test_training_jobs import (
    SLEEPS,
    archive,
    create,
    statuses,
    wait_for_line,
)

__all__ = ["orchestration", "queue"]

# Writes one more letter each time it is interrupted, and ends when there are three.
RESUMES = """
state = root / 'checkpoints/state'
found = state.read_text() if state.exists() else ''
def leave(*_):
    state.write_text(found + 'x')
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print('attempt', len(found), flush=True)
while len(found) < 2:
    time.sleep(0.05)
(root / 'model/found').write_text(found)
"""


def spot(max_runtime_s: int = 600, max_wait_s: int = 900, **members: Any) -> dict[str, Any]:
    condition = {"MaxRuntimeInSeconds": max_runtime_s, "MaxWaitTimeInSeconds": max_wait_s}
    return {"EnableManagedSpotTraining": True, "StoppingCondition": condition, **members}


def checkpoints() -> dict[str, Any]:
    return {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/{unique('checkpoints')}"}}


def interrupt(cloud: Orchestration, job: str, gone_for_s: float = 0.2) -> None:
    ask(cloud.port, "interrupt", {"job": job, "gone_for_s": gone_for_s})


def test_an_interrupted_job_starts_again_from_its_checkpoints(orchestration: Orchestration) -> None:
    name = create(orchestration, RESUMES, **spot(), **checkpoints())
    for attempt in range(2):
        wait_for_line(orchestration, name, f"attempt {attempt}")
        interrupt(orchestration, name)
    job = orchestration.finish_job(name)
    assert job["TrainingJobStatus"] == "Completed", job
    once = ["Starting", "Downloading", "Training", "Interrupted"]
    assert statuses(job) == [*once, *once, *once[:3], "Uploading", "Completed"]
    assert archive(orchestration, name, "model") == {"found": "xx"}
    assert job["EnableManagedSpotTraining"] is True


def test_the_wait_for_capacity_is_not_billed(orchestration: Orchestration) -> None:
    script = "print('attempt', flush=True)\nif (root / 'checkpoints/seen').exists(): sys.exit(0)\n"
    script += "(root / 'checkpoints/seen').write_text('1')\n" + SLEEPS
    name = create(orchestration, script, **spot(), **checkpoints())
    wait_for_line(orchestration, name, "begun")
    interrupt(orchestration, name, gone_for_s=4)
    job = orchestration.finish_job(name)
    assert job["TrainingJobStatus"] == "Completed", job
    elapsed_s = (job["TrainingEndTime"] - job["TrainingStartTime"]).total_seconds()
    assert elapsed_s >= 4
    assert job["BillableTimeInSeconds"] <= elapsed_s - 2


def test_a_job_without_checkpoints_is_accepted_and_begins_anew(orchestration: Orchestration) -> None:
    mark = orchestration.state_dir / unique("mark")
    script = f"mark = pathlib.Path({str(mark)!r})\nif mark.exists(): sys.exit(0)\nmark.write_text('1')\n"
    name = create(orchestration, script + SLEEPS, **spot())
    wait_for_line(orchestration, name, "begun")
    interrupt(orchestration, name)
    assert orchestration.finish_job(name)["TrainingJobStatus"] == "Completed"


def test_capacity_that_does_not_come_in_time_ends_the_job_as_stopped(orchestration: Orchestration) -> None:
    name = create(orchestration, SLEEPS, **spot(max_runtime_s=3, max_wait_s=4))
    wait_for_line(orchestration, name, "begun")
    interrupt(orchestration, name, gone_for_s=60)
    job = orchestration.finish_job(name, 20)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")


def test_the_runtime_of_all_attempts_counts_together(orchestration: Orchestration) -> None:
    name = create(orchestration, SLEEPS, **spot(max_runtime_s=4, max_wait_s=600))
    wait_for_line(orchestration, name, "begun")
    interrupt(orchestration, name)
    job = orchestration.finish_job(name, 30)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert statuses(job).count("Training") == 2
    assert job["TrainingTimeInSeconds"] <= 6


def test_a_job_can_be_stopped_while_it_waits_for_capacity(orchestration: Orchestration) -> None:
    name = create(orchestration, SLEEPS, **spot())
    wait_for_line(orchestration, name, "begun")
    interrupt(orchestration, name, gone_for_s=300)
    until(lambda: orchestration.job(name)["SecondaryStatus"] == "Interrupted", 10)
    assert orchestration.job(name)["TrainingJobStatus"] == "InProgress"
    orchestration.client("sagemaker").stop_training_job(TrainingJobName=name)
    assert orchestration.finish_job(name, 10)["SecondaryStatus"] == "Stopped"


def test_a_job_on_demand_cannot_be_interrupted(orchestration: Orchestration) -> None:
    name = create(orchestration, SLEEPS)
    wait_for_line(orchestration, name, "begun")
    with pytest.raises(LocalCloudError, match="can be interrupted"):
        interrupt(orchestration, name)
    assert orchestration.job(name)["SecondaryStatus"] == "Training"
    orchestration.client("sagemaker").stop_training_job(TrainingJobName=name)
    orchestration.finish_job(name, 10)


def test_a_batch_job_is_tried_again_on_another_host(orchestration: Orchestration, queue: str) -> None:
    script = "sys.exit(0) if os.environ['AWS_BATCH_JOB_ATTEMPT'] == '2' else print('begun', flush=True)\n"
    definition = register(orchestration, script + "time.sleep(60)", retryStrategy={"attempts": 2})
    job_id = submit(orchestration, queue, definition)
    wait_for_begin(orchestration, job_id)
    interrupt(orchestration, job_id)
    assert finish(orchestration, job_id, 20)["status"] == "SUCCEEDED"
    first = describe(orchestration, job_id)["attempts"][0]
    assert first["statusReason"].startswith("Host EC2")


def test_members_that_ask_for_capacity_are_taken_and_told(orchestration: Orchestration) -> None:
    name = create(
        orchestration,
        "",
        RetryStrategy={"MaximumRetryAttempts": 3},
        ResourceConfig={
            "InstancePreferences": [
                {"InstanceType": "ml.g6.xlarge", "InstanceCount": 1},
                {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1},
            ],
            "VolumeSizeInGB": 30,
            "KeepAlivePeriodInSeconds": 600,
        },
    )
    job = orchestration.finish_job(name)
    assert job["TrainingJobStatus"] == "Completed"
    assert job["ResourceConfig"]["SelectedInstanceType"] == "ml.g6.xlarge"
    assert job["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 600
    assert job["RetryStrategy"] == {"MaximumRetryAttempts": 3}


def test_preferences_exclude_spot_as_on_aws(orchestration: Orchestration) -> None:
    resources = {"InstancePreferences": [{"InstanceType": "ml.g5.xlarge"}], "VolumeSizeInGB": 30}
    with pytest.raises(ClientError, match="exclude each other"):
        create(orchestration, "", **spot(), ResourceConfig=resources)


def test_a_page_in_a_browser_cannot_interrupt(orchestration: Orchestration) -> None:
    url = f"http://localhost:{orchestration.port}/_lehr/interrupt"
    for headers, method in (({}, "POST"), ({HEADER: "1"}, "PUT")):
        request = urllib.request.Request(url, b'{"job": "x"}', headers, method=method)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(request)


def test_without_a_cloud_the_command_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lehr_local", "interrupt", "job", "--state", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "No local cloud is running" in done.stderr) == (2, True)

"""Training jobs of the local cloud, through SageMaker's API, with trainers of a few lines."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.integration.local_cloud.orchestration_cloud import (
    BUCKET,
    Orchestration,
    orchestration,
    serving,
    training_request,
    unique,
    until,
)

__all__ = ["orchestration"]

PRELUDE = "import json, os, pathlib, signal, sys, time\nroot = pathlib.Path(os.environ['LEHR_ML_ROOT'])\n"
SLEEPS = "print('begun')\ntime.sleep(60)"


def create(cloud: Orchestration, script: str, **members: Any) -> str:
    """Start a job whose trainer is `script`; gives its name."""
    name = unique("job")
    cloud.client("sagemaker").create_training_job(**training_request(name, PRELUDE + script, **members))
    return name


def train(cloud: Orchestration, script: str, **members: Any) -> dict[str, Any]:
    """Run a job to its end; gives its description."""
    return cloud.finish_job(create(cloud, script, **members))


def channel(name: str, prefix: str) -> dict[str, Any]:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": f"s3://{BUCKET}/{prefix}",
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def archive(cloud: Orchestration, job: str, name: str) -> dict[str, str]:
    content = io.BytesIO(cloud.get(f"output/{job}/output/{name}.tar.gz"))
    with tarfile.open(fileobj=content, mode="r:gz") as tar:
        members = {item.name: tar.extractfile(item) for item in tar.getmembers() if item.isfile()}
        return {path: stream.read().decode() for path, stream in members.items() if stream is not None}


def statuses(job: dict[str, Any]) -> list[str]:
    return [item["Status"] for item in job["SecondaryStatusTransitions"]]


def wait_for_line(cloud: Orchestration, job: str, line: str) -> None:
    def is_there() -> bool:
        try:
            return line in cloud.log(job)
        except (ClientError, IndexError):
            return False

    until(is_there, 20)


def test_a_completed_job_has_passed_through_the_statuses_of_sagemaker(orchestration: Orchestration) -> None:
    job = train(orchestration, "(root / 'model/weights').write_text('1 2 3')")
    name = job["TrainingJobName"]
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed"
    assert statuses(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all("EndTime" in item for item in job["SecondaryStatusTransitions"][:-1])
    assert job["TrainingStartTime"] <= job["TrainingEndTime"]
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"] >= 1
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/output/{name}/output/model.tar.gz"
    assert archive(orchestration, name, "model") == {"weights": "1 2 3"}
    assert "FailureReason" not in job


def test_the_trainer_finds_the_files_of_the_contract(orchestration: Orchestration) -> None:
    orchestration.put("train/a.csv", "1,2")
    orchestration.put("train/deep/b.csv", "3,4")
    script = (
        "config = root / 'input/config'\n"
        "found = {p.stem: json.loads(p.read_text()) for p in config.iterdir()}\n"
        "channel = root / 'input/data/train'\n"
        "found['files'] = sorted(str(p.relative_to(channel)) for p in channel.rglob('*.csv'))\n"
        "(root / 'output/data/found.json').write_text(json.dumps(found))\n"
    )
    job = train(
        orchestration,
        script,
        HyperParameters={"epochs": "3", "rate": "0.1"},
        InputDataConfig=[channel("train", "train")],
    )
    found = json.loads(archive(orchestration, job["TrainingJobName"], "output")["found.json"])
    assert found["hyperparameters"] == {"epochs": "3", "rate": "0.1"}
    assert found["inputdataconfig"]["train"]["TrainingInputMode"] == "File"
    assert found["resourceconfig"]["hosts"] == ["algo-1"]
    assert found["resourceconfig"]["current_instance_type"] == "ml.g5.xlarge"
    assert found["files"] == ["a.csv", "deep/b.csv"]


def environment(cloud: Orchestration, **members: Any) -> dict[str, str]:
    job = train(cloud, "(root / 'output/data/env.json').write_text(json.dumps(dict(os.environ)))", **members)
    found: dict[str, str] = json.loads(archive(cloud, job["TrainingJobName"], "output")["env.json"])
    return found


def test_the_environment_is_that_of_the_job_and_not_that_of_the_host(orchestration: Orchestration) -> None:
    found = environment(
        orchestration,
        HyperParameters={"rate": "0.1"},
        Environment={"OWN": "1", "PYTHONPATH": "/opt/ml/input/data/source:/opt/mlflow"},
    )
    root = found["LEHR_ML_ROOT"]
    assert found["OWN"] == "1"
    assert found["PYTHONPATH"] == f"{root}/input/data/source:/opt/mlflow"
    assert found["SM_MODEL_DIR"] == f"{root}/model"
    assert found["SM_HP_RATE"] == "0.1"
    assert found["TRAINING_JOB_ARN"].endswith(found["TRAINING_JOB_NAME"])
    assert found["AWS_ENDPOINT_URL"].startswith("http://localhost:")
    assert found["AWS_ACCESS_KEY_ID"]
    assert "LEHR_TEST_HOST_SECRET" not in found
    assert found["HOME"].startswith(root)
    known = {"PATH", "HOME", "LANG", "LC_CTYPE", "OWN", "LEHR_ML_ROOT"}
    strangers = [
        name
        for name in found
        if name not in known and not name.startswith(("SM_", "AWS_", "PYTHON", "TRAINING_JOB_"))
    ]
    assert strangers == []


def test_a_job_with_network_isolation_has_no_credentials(orchestration: Orchestration) -> None:
    found = environment(orchestration, EnableNetworkIsolation=True)
    assert found["AWS_REGION"] == "us-east-1"
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"} & found.keys()


def test_without_an_entry_point_the_trainer_of_the_image_is_started(orchestration: Orchestration) -> None:
    orchestration.put(
        "source/lehr_trainer.py",
        "import os, sys\nopen(os.environ['SM_MODEL_DIR'] + '/a', 'w').write(sys.argv[1])",
    )
    job = train(
        orchestration,
        "",
        AlgorithmSpecification={"TrainingImage": "trainer:1", "TrainingInputMode": "File"},
        Environment={"PYTHONPATH": "/opt/ml/input/data/source"},
        InputDataConfig=[channel("source", "source/")],
    )
    assert archive(orchestration, job["TrainingJobName"], "model") == {"a": "train"}


def test_a_failure_gives_the_text_of_the_trainer_and_its_exit_code(orchestration: Orchestration) -> None:
    script = (
        "(root / 'model/half').write_text('x')\n"
        "(root / 'output/failure').write_text('ValueError: loss is nan')\n"
        "sys.exit(3)"
    )
    job = train(orchestration, script)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: ValueError: loss is nan, exit code: 3"
    assert statuses(job)[-2:] == ["Uploading", "Failed"]
    with pytest.raises(ClientError, match=r"404|NoSuchKey"):
        orchestration.get(f"output/{job['TrainingJobName']}/output/model.tar.gz")
    kept = orchestration.state_dir / "jobs" / job["TrainingJobName"]
    assert (kept / "output/failure").read_text() == "ValueError: loss is nan"
    assert (kept / "input/config/hyperparameters.json").is_file()
    assert not (kept / "model").exists()


def test_a_failure_without_a_text_gives_the_exit_code(orchestration: Orchestration) -> None:
    job = train(orchestration, "os.kill(os.getpid(), signal.SIGKILL)")
    assert job["FailureReason"] == "AlgorithmError: , exit code: 137"


def test_a_program_that_does_not_exist_fails_the_job(orchestration: Orchestration) -> None:
    specification = {
        "TrainingImage": "trainer:1",
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["no-such-program"],
    }
    job = train(orchestration, "", AlgorithmSpecification=specification)
    assert job["TrainingJobStatus"] == "Failed"
    assert "no-such-program" in job["FailureReason"]


@pytest.mark.parametrize("uri", [f"s3://{BUCKET}/no/such/prefix", "s3://no-such-bucket/prefix"])
def test_a_channel_without_data_fails_as_sagemaker_words_it(orchestration: Orchestration, uri: str) -> None:
    missing = channel("train", "")
    missing["DataSource"]["S3DataSource"]["S3Uri"] = uri
    job = train(orchestration, "", InputDataConfig=[missing])
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Data download failed:")
    assert uri in job["FailureReason"]
    assert "Training" not in statuses(job)


def test_a_name_can_be_used_once(orchestration: Orchestration) -> None:
    name = create(orchestration, "pass")
    sagemaker = orchestration.client("sagemaker")
    with pytest.raises(sagemaker.exceptions.ResourceInUse):
        sagemaker.create_training_job(**training_request(name, "pass"))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"TrainingJobName": "../escape"}, "trainingJobName"),
        (
            {"CheckpointConfig": {"S3Uri": "s3://data/c", "LocalPath": "/opt/ml/checkpoints/../../etc"}},
            "LocalPath",
        ),
        ({"InputDataConfig": [channel("..", "train")]}, "name of a channel"),
        ({"InputDataConfig": [channel("train", "train") | {"InputMode": "Pipe"}]}, "Pipe mode"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "MaxRuntimeInSeconds"),
        ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds"),
    ],
)
def test_what_cannot_be_done_is_refused(
    orchestration: Orchestration, members: dict[str, Any], reason: str
) -> None:
    # The SDK would refuse some of these before it sends them; a state machine does not.
    raw = orchestration.client("sagemaker", Config(parameter_validation=False))
    request = training_request(unique("job"), "pass", **members)
    with pytest.raises(ClientError, match=f"ValidationException.*{reason}"):
        raw.create_training_job(**request)


def test_a_stopped_job_is_given_time_and_keeps_its_model(orchestration: Orchestration) -> None:
    script = (
        "def leave(*_):\n    (root / 'model/partial').write_text('kept')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, leave)\n" + SLEEPS
    )
    name = create(orchestration, script)
    wait_for_line(orchestration, name, "begun")
    orchestration.client("sagemaker").stop_training_job(TrainingJobName=name)
    job = orchestration.finish_job(name)
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Stopped"
    assert statuses(job)[-2:] == ["Stopping", "Stopped"]
    assert archive(orchestration, name, "model") == {"partial": "kept"}
    with pytest.raises(ClientError, match="in status Stopped"):
        orchestration.client("sagemaker").stop_training_job(TrainingJobName=name)


def test_a_stop_while_data_is_downloaded_ends_in_stopped(orchestration: Orchestration) -> None:
    for number in range(150):
        orchestration.put(f"many/{number:03}", b"x")
    name = create(orchestration, SLEEPS, InputDataConfig=[channel("train", "many/")])
    orchestration.client("sagemaker").stop_training_job(TrainingJobName=name)
    job = orchestration.finish_job(name, limit_s=15)
    assert job["TrainingJobStatus"] == "Stopped"
    assert "Training" not in statuses(job)


def test_a_job_over_its_time_is_stopped_and_keeps_its_model(orchestration: Orchestration) -> None:
    script = "(root / 'model/weights').write_text('late')\n" + SLEEPS
    job = train(orchestration, script, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert archive(orchestration, job["TrainingJobName"], "model") == {"weights": "late"}


def test_an_unknown_job_cannot_be_stopped_or_described(orchestration: Orchestration) -> None:
    for call in ("stop_training_job", "describe_training_job"):
        with pytest.raises(ClientError, match="Could not find training job"):
            getattr(orchestration.client("sagemaker"), call)(TrainingJobName="nobody")


def test_checkpoints_are_stored_while_the_job_runs_and_restored_into_the_next(
    orchestration: Orchestration,
) -> None:
    prefix = unique("checkpoints")
    config = {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/{prefix}"}}
    script = (
        "here = root / 'checkpoints'\n"
        "(here / 'deep').mkdir(exist_ok=True)\n"
        "before = (here / 'deep/step').read_text() if (here / 'deep/step').exists() else '0'\n"
        "(here / 'deep/step').write_text(str(int(before) + 1))\n"
        "print('step was', before)\n"
    )
    name = create(orchestration, script + "time.sleep(60)", **config)
    stored = until(lambda: keys(orchestration, prefix), 20)
    assert stored == [f"{prefix}/deep/step"]
    orchestration.client("sagemaker").stop_training_job(TrainingJobName=name)
    orchestration.finish_job(name)
    second = train(orchestration, script, **config)
    assert orchestration.log(second["TrainingJobName"]) == ["step was 1"]
    assert orchestration.get(f"{prefix}/deep/step") == b"2"


def keys(cloud: Orchestration, prefix: str) -> list[str] | None:
    listing = cloud.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in listing.get("Contents", [])] or None


def test_a_chatty_trainer_is_logged_line_by_line_and_its_metrics_are_read(
    orchestration: Orchestration,
) -> None:
    count = 2000
    specification = training_request("x", PRELUDE)["AlgorithmSpecification"]
    script = f"for step in range({count}): print(f'step={{step}} loss={{1 / (step + 1):.6f}}')"
    specification |= {
        "ContainerArguments": [script],
        "MetricDefinitions": [
            {"Name": "train:loss", "Regex": "loss=([0-9.]+)"},
            {"Name": "never", "Regex": "accuracy=([0-9.]+)"},
        ],
    }
    job = train(orchestration, "", AlgorithmSpecification=specification)
    metrics = {item["MetricName"]: item["Value"] for item in job["FinalMetricDataList"]}
    assert metrics == {"train:loss": pytest.approx(1 / count)}
    lines = orchestration.log(job["TrainingJobName"])
    assert [line.split()[0] for line in lines] == [f"step={step}" for step in range(count)]
    assert job["AlgorithmSpecification"]["MetricDefinitions"] == specification["MetricDefinitions"]


def test_a_running_job_is_described_and_listed(orchestration: Orchestration) -> None:
    name = create(orchestration, SLEEPS, Environment={"OWN": "1"}, HyperParameters={"a": "b"})
    wait_for_line(orchestration, name, "begun")
    job = orchestration.job(name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("InProgress", "Training")
    assert job["Environment"] == {"OWN": "1"}
    assert job["HyperParameters"] == {"a": "b"}
    assert "TrainingEndTime" not in job
    listed = orchestration.client("sagemaker").list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    assert [item["TrainingJobStatus"] for item in listed] == ["InProgress"]
    orchestration.client("sagemaker").stop_training_job(TrainingJobName=name)
    orchestration.finish_job(name)


def test_jobs_run_side_by_side(orchestration: Orchestration, tmp_path: Path) -> None:
    """Each waits until it sees all the others."""
    script = (
        f"place = pathlib.Path({str(tmp_path)!r})\n(place / str(os.getpid())).touch()\n"
        "while len(list(place.iterdir())) < 6:\n    time.sleep(0.05)\n"
    )
    names = [create(orchestration, script) for _ in range(6)]
    assert all(orchestration.finish_job(name)["TrainingJobStatus"] == "Completed" for name in names)


def test_closing_ends_a_trainer_that_does_not_listen(tmp_path: Path) -> None:
    with serving(tmp_path) as cloud:
        script = f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid())\n{SLEEPS}"
        name = create(cloud, script)
        wait_for_line(cloud, name, "begun")
        pid = cloud.log(name)[0]
        assert Path("/proc", pid).exists()
    assert not Path("/proc", pid).exists()


SEVERAL = {"ResourceConfig": {"InstanceCount": 3, "InstanceType": "ml.g5.xlarge", "VolumeSizeInGB": 50}}
HOST = "host = json.loads((root / 'input/config/resourceconfig.json').read_text())['current_host']\n"


def test_a_job_of_several_instances_is_a_process_for_each_that_can_find_the_first(
    orchestration: Orchestration,
) -> None:
    script = (
        HOST
        + "import socket\n"
        + "print(host)\n"
        + "address = (os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']))\n"
        + "assert os.environ['SM_CURRENT_HOST'] == host\n"
        + "if host != 'algo-1':\n"
        + "    for attempt in range(100):\n"
        + "        try:\n"
        + "            socket.create_connection(address).sendall(host.encode())\n"
        + "            break\n"
        + "        except ConnectionRefusedError:\n"
        + "            time.sleep(0.1)\n"
        + "    (root / 'model/not-this').write_text('x')\n"
        + "    sys.exit()\n"
        + "server = socket.create_server(address)\n"
        + "met = sorted(server.accept()[0].recv(9).decode() for _ in range(2))\n"
        + "hosts = json.loads((root / 'input/config/resourceconfig.json').read_text())['hosts']\n"
        + "(root / 'model/met').write_text(json.dumps([hosts, met]))\n"
    )
    job = train(orchestration, script, **SEVERAL)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    files = archive(orchestration, job["TrainingJobName"], "model")
    assert list(files) == ["met"]
    assert json.loads(files["met"]) == [["algo-1", "algo-2", "algo-3"], ["algo-2", "algo-3"]]
    streams = orchestration.client("logs").describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=job["TrainingJobName"]
    )["logStreams"]
    hosts = sorted(stream["logStreamName"].partition("/")[2].rpartition("-")[0] for stream in streams)
    assert hosts == ["algo-1", "algo-2", "algo-3"]


def test_a_job_fails_with_the_reason_of_the_instance_that_failed_and_stops_the_others(
    orchestration: Orchestration,
) -> None:
    script = (
        HOST
        + "if host == 'algo-2':\n"
        + "    (root / 'output/failure').write_text('ValueError: not on this host')\n"
        + "    sys.exit(4)\n"
        + "time.sleep(60)"
    )
    job = train(orchestration, script, **SEVERAL)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: ValueError: not on this host, exit code: 4"


def test_a_job_of_too_many_instances_is_refused(orchestration: Orchestration) -> None:
    many = {"ResourceConfig": {"InstanceCount": 17, "InstanceType": "ml.g5.xlarge", "VolumeSizeInGB": 50}}
    with pytest.raises(ClientError, match="runs jobs of 1 to 16 instances, not 17"):
        create(orchestration, "pass", **many)

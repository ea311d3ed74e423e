"""A run that fails after its training is resumed: the training is found again, and nobody trains twice."""

from __future__ import annotations

import time
from typing import Any

from tests.e2e.small_mnist import write_data, write_project
from tests.e2e.workplace import Workplace

TRAINING_JOBS = 1


def entered(states: Any, arn: str) -> list[str]:
    events = states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    return [one["stateEnteredEventDetails"]["name"] for one in events if "stateEnteredEventDetails" in one]


def delete_shards(place: Workplace, project: str) -> None:
    """Take away what the data was sealed into, as somebody might by hand; what it was sealed from is still there."""
    for bucket, key in place.keys(project):
        if key.startswith(f"datasets/{project}/shards/"):
            place.client("s3").delete_object(Bucket=bucket, Key=key)


def test_a_run_whose_packaging_failed_is_resumed_without_training_again(workplace: Workplace) -> None:
    project = workplace.project("resumed")
    states = workplace.client("stepfunctions")
    assert workplace.lehr("push", str(write_project(workplace.folder / project, project))).code == 0
    dropped = workplace.lehr("drop", project, str(write_data(workplace.folder / "data-resumed", 2000)))
    started = dropped.only("answer")
    deadline = time.monotonic() + workplace.target.patience_s
    while not workplace.training_jobs(project):
        assert time.monotonic() < deadline
        time.sleep(0.1 if workplace.cloud.endpoint_url else 5)
    # The job has been given its channels once it says something; the test's rows are read after it has ended.
    while workplace.client("sagemaker").describe_training_job(
        TrainingJobName=workplace.training_jobs(project)[0]
    )["SecondaryStatus"] in {"Starting", "Downloading", "Pending"}:
        time.sleep(0.05 if workplace.cloud.endpoint_url else 5)
    delete_shards(workplace, project)
    assert workplace.lehr("watch", started["run"]).code == 1
    (job,) = workplace.training_jobs(project)

    why = workplace.lehr("why", started["run"]).only("explanation")
    assert why["cause"] == "object-missing", why
    assert "trained model of trial 0" in why["kept"]
    assert f"lehr train {project} --data FOLDER" in why["next"]

    resumed = workplace.lehr("resume", started["run"])
    assert resumed.code == 0, resumed.stderr
    answer = resumed.only("answer")
    assert answer["run"] == started["run"]
    assert answer["reason"] == "the data is prepared; 1 trained trial(s) stay"
    again = entered(states, answer["execution_arn"])
    assert not {"PrepareShards", "TrainTrials", "RequestTraining", "Train"} & set(again)
    assert {"SealDataset", "PackageModel", "EvaluateShards", "PromoteModel"} <= set(again)
    assert workplace.training_jobs(project) == [job]
    (run,) = workplace.runs(project)
    assert (run["status"], run["resumes"]) == ("promoted", 1)
    report = workplace.lehr("report", started["run"])
    page = (workplace.folder / report.only("report")["path"]).read_text()
    assert "What went wrong" not in page
    assert "is the new champion" in page
    timeline = page[page.index("<h2>Timeline") : page.index("<h2>Lineage")]
    first, _, last = timeline.partition("resumed")
    assert "in 2 executions" in first
    assert "TrainTrials" in first
    assert "PromoteModel" in last
    assert "TrainTrials" not in last
    watched = workplace.lehr("watch", started["run"])
    mark = watched.only("run_resumed")
    assert (mark["number"], mark["ended"]) == (1, "FAILED")
    assert watched.only("run_ended")["executions_s"][0] == mark["seconds"]

    refused = workplace.lehr("resume", started["run"])
    assert refused.code == 1
    assert "did not fail: it was promoted" in refused.stderr

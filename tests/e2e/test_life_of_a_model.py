"""From a drop to a prediction over HTTPS, again and again: the first model, no news, a worse one, a better one."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.e2e.conftest import Finished, Workplace
from tests.e2e.small_mnist import write_data, write_project

STATES = [
    *("PrepareShards", "SealDataset", "TrainTrials", "PackageModel", "EvaluateShards", "JudgeModel"),
    *("PromoteModel", "RecordPromotion", "WriteReport"),
]


@pytest.fixture(scope="module")
def project(workplace: Workplace) -> Workplace:
    pushed = workplace.lehr("push", str(write_project(workplace.folder / "digits", "digits")))
    assert pushed.code == 0, pushed.stderr
    return workplace


def runs(place: Workplace) -> list[dict[str, Any]]:
    """Records of the project's runs, newest first."""
    return [line for line in place.lehr("runs", "digits").events if line["event"] == "run"]


def version_that_answers(place: Workplace) -> str:
    return str(place.lehr("predict", "digits", "--row", "0").only("prediction")["model_version"])


def train(place: Workplace, rows: int) -> Finished:
    return place.lehr("train", "digits", "--data", str(write_data(place.folder / f"data-{rows}", rows)))


@pytest.fixture(scope="module")
def first(project: Workplace) -> Finished:
    return train(project, 3000)


@pytest.fixture(scope="module")
def champion(project: Workplace, first: Finished) -> str:
    (run,) = runs(project)
    return str(run["model_version"])


def test_a_drop_is_prepared_trained_judged_and_promoted(first: Finished) -> None:
    assert first.code == 0, first.stderr
    passed = [event["state"] for event in first.events if event["event"] == "state_exited"]
    assert [state for state in passed if state in STATES] == STATES
    assert first.only("decided")["verdict"] == "promote"


def test_every_epoch_is_shown_with_loss_accuracy_and_speed(first: Finished) -> None:
    epochs = [event for event in first.events if event["event"] == "epoch"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4, 5]
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert all(epoch["samples_per_second"] > 0 for epoch in epochs)


def test_the_champion_answers_over_https(project: Workplace, champion: str) -> None:
    answer = project.lehr("predict", "digits", "--row", "0")
    assert answer.code == 0, answer.stderr
    prediction = answer.only("prediction")
    assert prediction["model_version"] == champion
    assert prediction["predictions"][0]["label"] == "7"


def test_the_report_is_one_file_that_loads_nothing(project: Workplace, first: Finished) -> None:
    report = project.lehr("report", "digits").only("report")
    text = (project.folder / report["path"]).read_text()
    assert "is the new champion" in text
    assert "http" not in text.replace("http://www.w3.org/", "")


def test_the_same_data_again_trains_nothing(project: Workplace, first: Finished) -> None:
    before = project.training_jobs()
    again = train(project, 3000)
    assert again.code == 0
    assert again.only("answer")["outcome"] == "nothing_new"
    assert project.training_jobs() == before


def test_worse_data_is_trained_and_rejected_with_the_reason(project: Workplace, champion: str) -> None:
    worse = train(project, 400)
    assert worse.code == 0, worse.stderr
    decision = worse.only("decided")
    assert decision["verdict"] == "reject"
    assert f"better than champion {champion}" in decision["reason"]
    assert version_that_answers(project) == champion


def test_better_data_replaces_the_champion_and_answers_name_the_new_one(
    project: Workplace, champion: str
) -> None:
    better = train(project, 9000)
    assert better.code == 0, better.stderr
    assert better.only("decided")["verdict"] == "promote"
    records = runs(project)
    assert [record["status"] for record in records] == ["promoted", "rejected", "promoted"]
    assert records[0]["champion_accuracy"] == records[2]["accuracy"]
    promoted = records[0]["model_version"]
    assert promoted != champion
    # A warm endpoint looks at the champion pointer every 30 seconds.
    deadline = time.monotonic() + 45
    while (answered := version_that_answers(project)) != promoted:
        assert answered == champion, "an answer names a model that never was champion"
        assert time.monotonic() < deadline
        time.sleep(1)


def test_a_failing_trainer_fails_the_run_with_its_last_lines_and_the_champion_stays(
    project: Workplace,
) -> None:
    folder = write_project(
        project.folder / "broken", "digits", **{'name = "mlp"': 'name = "custom"\nfactory = "net:build"'}
    )
    (folder / "net.py").write_text("def build(**shape):\n    raise ValueError('no such layer: convolver')\n")
    assert project.lehr("push", str(folder)).code == 0
    before = runs(project)[0]["model_version"]
    failed = train(project, 3000)
    assert failed.code == 1
    record = runs(project)[0]
    assert record["status"] == "failed"
    assert "no such layer: convolver" in record["reason"]
    assert "raise ValueError('no such layer: convolver')" in failed.stderr
    assert version_that_answers(project) == before
    report = project.lehr("report", record["run"]).only("report")
    assert "no such layer: convolver" in (project.folder / report["path"]).read_text()
    # The way back: the working recipe again, and the data that failed is tried anew under it.
    assert project.lehr("push", str(project.folder / "digits")).code == 0


def test_a_file_that_breaks_off_fails_the_run_with_its_place(project: Workplace) -> None:
    folder = write_data(project.folder / "truncated", 3000)
    images = folder / "train-images-idx3-ubyte.gz"
    images.write_bytes(images.read_bytes()[:-5000])
    failed = project.lehr("train", "digits", "--data", str(folder))
    assert failed.code == 1
    reason = runs(project)[0]["reason"]
    assert reason.startswith("PrepareShards: ")
    assert "train-images-idx3-ubyte.gz" in reason


def test_data_for_a_project_that_nobody_pushed_is_refused_with_the_way_out(workplace: Workplace) -> None:
    folder = write_data(workplace.folder / "data-400", 400)
    refused = workplace.lehr("train", "cifar", "--data", str(folder))
    assert refused.code == 2
    assert "lehr push" in refused.stderr


def test_a_bare_ready_object_for_an_unknown_project_is_answered_in_the_registry(workplace: Workplace) -> None:
    """Whoever drops without the command finds the reason where the triggers are kept."""
    drop = "0123456789abcdef"
    bucket = workplace.outputs()["DataBucket"]
    workplace.client("s3").put_object(Bucket=bucket, Key="incoming/cifar/_READY", Body=drop.encode())
    key = {"pk": {"S": "project#cifar"}, "sk": {"S": f"trigger#{drop}"}}
    table, dynamodb = workplace.outputs()["RegistryTable"], workplace.client("dynamodb")
    deadline = time.monotonic() + 30
    while "Item" not in (answer := dynamodb.get_item(TableName=table, Key=key)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert answer["Item"]["outcome"]["S"] == "refused"
    assert "lehr push" in answer["Item"]["reason"]["S"]


def test_a_recipe_with_an_unknown_key_is_not_pushed(workplace: Workplace) -> None:
    folder = write_project(workplace.folder / "misspelt", "digits", **{"epochs = 5": "epoch = 5"})
    refused = workplace.lehr("push", str(folder))
    assert refused.code == 2
    assert "did you mean 'epochs'?" in refused.stderr


def test_every_document_in_the_bucket_is_json_without_nan(project: Workplace, first: Finished) -> None:
    bucket = project.outputs()["ArtifactBucket"]
    s3 = project.client("s3")
    keys = [
        entry["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for entry in page["Contents"]
        if entry["Key"].endswith(".json")
    ]
    assert len(keys) > 10
    for key in keys:
        json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read(), parse_constant=_refuse)


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")

"""Another run promotes while this one waits for approval: it is judged again, and asks again; and the way back."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.e2e.small_mnist import write_data, write_project
from tests.e2e.workplace import Workplace

TRAINING_JOBS = 4


@pytest.fixture(scope="module")
def contested(workplace: Workplace) -> tuple[Workplace, str]:
    project = workplace.project("contested")
    folder = workplace.folder / project
    assert workplace.lehr("push", str(write_project(folder, project))).code == 0
    data = write_data(workplace.folder / "data-400", 400)
    assert workplace.lehr("train", project, "--data", str(data)).code == 0
    asks = {"[gate]": "[approval]\nrequired = true\n\n[gate]"}
    assert workplace.lehr("push", str(write_project(folder, project, **asks))).code == 0
    return workplace, project


def start(place: Workplace, project: str, rows: int) -> str:
    """Start a run on `rows` training rows; returns the ARN of its execution."""
    data = write_data(place.folder / f"data-{rows}", rows)
    dropped = place.lehr("drop", project, str(data))
    assert dropped.code == 0, dropped.stderr
    arn: str = dropped.only("answer")["execution_arn"]
    return arn


def entered(states: Any, arn: str) -> list[str]:
    events = states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    return [
        event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event
    ]


def alias(place: Workplace, project: str) -> dict[str, Any]:
    key = {"pk": {"S": f"champion#{project}"}, "sk": {"S": "alias"}}
    item: dict[str, Any] = place.client("dynamodb").get_item(
        TableName=place.outputs()["RegistryTable"], Key=key, ConsistentRead=True
    )["Item"]
    return item


def test_a_run_that_is_overtaken_while_it_waits_is_judged_and_asks_again(
    contested: tuple[Workplace, str],
) -> None:
    place, project = contested
    states, dynamodb = place.client("stepfunctions"), place.client("dynamodb")
    # What another run's promotion does to this one: the generation is no longer the one it was judged at.
    move_from_outside = {
        "TableName": place.outputs()["RegistryTable"],
        "Key": {"pk": {"S": f"champion#{project}"}, "sk": {"S": "alias"}},
        "UpdateExpression": "SET generation = generation + :one, #owner = :other",
        "ExpressionAttributeNames": {"#owner": "owner"},
        "ExpressionAttributeValues": {":one": {"N": "1"}, ":other": {"S": "another-run"}},
    }
    before = int(alias(place, project)["generation"]["N"])
    arn = start(place, project, 6000)
    for generation in (before, before + 1):
        until_asked(place, project, generation)
        if generation == before:
            dynamodb.update_item(**move_from_outside)
        approved = place.lehr("approve", project, "--comment", "seen")
        assert approved.code == 0, approved.stderr
    deadline = time.monotonic() + place.target.patience_s
    while (execution := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    seen = entered(states, arn)
    twice = ("PackageModel", "JudgeModel", "AwaitApproval", "PromoteModel")
    assert [seen.count(state) for state in twice] == [2, 2, 2, 2]
    assert seen.count("JudgeAgain") == 1
    assert json.loads(execution["output"])["outcome"] == "promoted"
    assert int(alias(place, project)["generation"]["N"]) == before + 2
    (run, _) = place.runs(project)
    assert "approved by arn:aws" in run["reason"]
    assert run["reason"].endswith(": seen")
    late = place.lehr("reject", project, "--reason", "too late")
    assert (late.code, "was approved on" in late.stderr) == (2, True)


def test_the_champion_before_serves_again_at_once(contested: tuple[Workplace, str]) -> None:
    place, project = contested
    new, old = (run["model_version"] for run in place.runs(project))
    back = place.lehr("rollback", project, "--reason", "p99 doubled")
    assert back.code == 0, back.stderr
    assert back.only("rollback")["champion"] == old
    # The first request for this project; a warm endpoint looks every 30 seconds.
    assert place.lehr("predict", project, "--row", "0").only("prediction")["model_version"] == old
    listed = place.lehr("runs", project)
    assert [run["champion"] for run in listed.events if run["event"] == "run"] == [False, True]
    assert listed.only("rolled_back")["reason"] == "p99 doubled"
    assert place.lehr("rollback", project, old).code == 2
    assert place.lehr("rollback", project, new[:8]).code == 0
    assert alias(place, project)["champion"]["S"] == new


def until_asked(place: Workplace, project: str, generation: int) -> None:
    """Wait until the latest run says that it waits for approval, at this generation of the champion."""
    deadline = time.monotonic() + place.target.patience_s
    table, dynamodb = place.outputs()["RegistryTable"], place.client("dynamodb")
    run = place.runs(project)[0]["run"]
    key = {"pk": {"S": f"approval#{project}"}, "sk": {"S": f"{run}#{generation:010d}"}}
    while "Item" not in dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    shown = next(line for line in place.lehr("runs", project).events if line["event"] == "run")
    assert shown["waits_for_approval_until"]


def test_what_is_dropped_during_a_run_waits_and_gets_one_run_together(workplace: Workplace) -> None:
    project = workplace.project("patient")
    folder = workplace.folder / project
    endless = {"epochs = 5": "epochs = 100000"}
    assert workplace.lehr("push", str(write_project(folder, project, **endless))).code == 0
    started = drop(workplace, project, 400)
    assert started["outcome"] == "started"
    deadline = time.monotonic() + workplace.target.patience_s
    # Raw data that is overwritten while it is prepared fails a run.
    while "TrainTrials" not in entered(workplace.client("stepfunctions"), started["execution_arn"]):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    waiting = [drop(workplace, project, rows) for rows in (500, 600)]
    assert [answer["outcome"] for answer in waiting] == ["queued", "queued"]
    assert [answer["run"] for answer in waiting] == [started["run"]] * 2
    assert workplace.lehr("push", str(write_project(folder, project))).code == 0
    assert workplace.lehr("stop", started["run"]).code == 0

    # The end of the first one starts the other: nobody asks for it.
    deadline = time.monotonic() + workplace.target.patience_s
    while (answer := answer_to(workplace, project, waiting[0]["trigger"]))["outcome"] == "queued":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert answer["outcome"] == "started"
    assert answer_to(workplace, project, waiting[1]["trigger"])["run"] == answer["run"]
    assert workplace.lehr("watch", answer["run"]).code == 0
    runs = [line for line in workplace.lehr("runs").events if line["event"] == "run"]
    assert {run["run"] for run in runs if run["project"] == project} == {started["run"], answer["run"]}


def drop(place: Workplace, project: str, rows: int) -> dict[str, Any]:
    answer: dict[str, Any] = place.lehr(
        "drop", project, str(write_data(place.folder / f"data-{rows}", rows))
    ).only("answer")
    return answer


def answer_to(place: Workplace, project: str, trigger: str) -> dict[str, str]:
    item = place.client("dynamodb").get_item(
        TableName=place.outputs()["RegistryTable"],
        Key={"pk": {"S": f"project#{project}"}, "sk": {"S": f"trigger#{trigger}"}},
        ConsistentRead=True,
    )["Item"]
    return {name: value["S"] for name, value in item.items() if "S" in value}

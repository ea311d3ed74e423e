"""Another run promotes while this one is being judged: it is judged again, against the champion that serves now."""

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
    assert workplace.lehr("push", str(write_project(workplace.folder / project, project))).code == 0
    data = write_data(workplace.folder / "data-400", 400)
    assert workplace.lehr("train", project, "--data", str(data)).code == 0
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


def test_a_run_that_was_overtaken_is_judged_again_and_wins_fairly(contested: tuple[Workplace, str]) -> None:
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
    # AWS limits how often a history may be read; the local cloud is through in a moment.
    pause_s = 0.01 if place.cloud.endpoint_url else 0.5
    # There is less than a second between judging and promoting; a move that misses it is tried on better data.
    for rows in (6000, 15_000, 40_000):
        before = int(alias(place, project)["generation"]["N"])
        arn = start(place, project, rows)
        deadline = time.monotonic() + place.target.patience_s
        while "EvaluateShards" not in entered(states, arn):
            assert time.monotonic() < deadline
            time.sleep(pause_s)
        dynamodb.update_item(**move_from_outside)
        while (execution := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
            assert time.monotonic() < deadline
            time.sleep(pause_s)
        seen = entered(states, arn)
        if "JudgeAgain" in seen:
            break
    assert "JudgeAgain" in seen, "every move came too late to be noticed: nothing was tested"
    assert [seen.count(state) for state in ("PackageModel", "JudgeModel", "PromoteModel")] == [2, 2, 2]
    assert json.loads(execution["output"])["outcome"] == "promoted"
    assert int(alias(place, project)["generation"]["N"]) == before + 2


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

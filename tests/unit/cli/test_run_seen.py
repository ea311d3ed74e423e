"""What is open in a run that goes on, read out of histories that are cut off at some moment."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from lehr_cli.run_seen import Glance

HISTORIES = Path(__file__).parent / "histories"


def events(name: str) -> list[dict[str, Any]]:
    found = json.loads((HISTORIES / f"{name}.json").read_text())
    return [one | {"timestamp": datetime.fromisoformat(one["timestamp"])} for one in found]


def glance(seen: list[dict[str, Any]]) -> Glance:
    made = Glance()
    made.read(seen)
    return made


def test_a_run_in_its_preparation_has_its_map_run() -> None:
    seen = glance(events("aborted")[:4])
    assert seen.state == "PrepareShards"
    assert ":mapRun:lehr-retrain/" in seen.map_run_arn


def test_a_run_in_its_training_has_its_job_and_since_when() -> None:
    cut = events("aborted")[:-1]
    seen = glance(cut)
    assert seen.state == "TrainTrials"
    assert seen.since == cut[12]["timestamp"]
    assert list(seen.jobs) == ["lehr-bad-a8c12e654052-0-0"]
    assert not seen.map_run_arn


def test_a_new_state_forgets_what_the_one_before_was_busy_with() -> None:
    whole = events("promoted")
    entered = [number for number, one in enumerate(whole) if one["type"] == "TaskStateEntered"]
    seen = glance(whole[: entered[-1] + 1])
    assert (seen.jobs, seen.progress, seen.last_error) == ({}, None, "")


def test_an_error_that_is_retried_is_known_until_the_task_succeeds() -> None:
    refused = {"error": "Lambda.TooManyRequestsException", "resource": "invoke", "resourceType": "lambda"}
    opened = events("aborted")[:10]
    failed = opened[-1] | {"type": "TaskFailed", "id": 11, "taskFailedEventDetails": refused}
    seen = glance([*opened, failed])
    assert (seen.state, seen.last_error) == ("SealDataset", "Lambda.TooManyRequestsException")
    ended = events("aborted")[10] | {"id": 12}
    assert glance([*opened, failed, ended]).last_error == ""


def test_a_training_in_a_function_is_known_before_its_first_slice_has_ended() -> None:
    opened = events("aborted")[:15]
    entered = opened[-1] | {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": "TrainSlice"}}
    seen = glance([*opened, entered])
    assert (seen.state, seen.is_in_slices) == ("TrainTrials", True)

"""Execution histories, as the local cloud has recorded them, and what a person is told of them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from lehr.contracts.slices import SliceAnswer, SliceProgress
from lehr_cli.events import (
    ExecutionEnded,
    MapProgress,
    MapRunStarted,
    RunEvent,
    SliceEnded,
    StateEntered,
    StateExited,
    TrainingJobStarted,
)
from lehr_cli.history import HistoryReader, Timeline, _slice

HISTORIES = Path(__file__).parent / "histories"


def history(name: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads((HISTORIES / f"{name}.json").read_text())
    return [event | {"timestamp": datetime.fromisoformat(event["timestamp"])} for event in events]


def told(name: str) -> list[RunEvent]:
    return list(Timeline().read(history(name)))


def exits(events: list[RunEvent]) -> list[StateExited]:
    return [event for event in events if isinstance(event, StateExited)]


class Pages:
    """A Step Functions client whose history grows, in pages of three events."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events
        self.visible = 0
        self.asked: list[int] = []

    def get_execution_history(self, *, nextToken: str = "0", **_: Any) -> dict[str, Any]:
        first = int(nextToken)
        self.asked.append(first)
        seen = self.events[: self.visible]
        page: dict[str, Any] = {"events": seen[first : first + 3]}
        if first + 3 < len(seen):
            page["nextToken"] = str(first + 3)
        return page


def test_a_promoted_run_passes_its_states_in_order() -> None:
    states = [event.state for event in told("promoted") if isinstance(event, StateEntered)]
    assert states == [
        "PrepareShards",
        "SealDataset",
        "TrainTrials",
        "AnyTrialCompleted",
        "PackageModel",
        "EvaluateShards",
        "JudgeModel",
        "Gate",
        "AwaitApproval",
        "PromoteModel",
        "WatchCanary",
        "RecordPromotion",
        "WriteReport",
        "Notify",
        "Outcome",
        "Complete",
    ]


def test_every_state_that_is_entered_is_left_again() -> None:
    for name in ("promoted", "failed", "aborted"):
        events = told(name)
        entered = [event.state for event in events if isinstance(event, StateEntered)]
        assert [event.state for event in exits(events)] == entered


def test_no_state_of_a_promoted_run_has_failed() -> None:
    assert not any(event.has_failed for event in exits(told("promoted")))


def test_the_training_job_is_named_before_its_state_ends() -> None:
    events = told("promoted")
    job = next(event for event in events if isinstance(event, TrainingJobStarted))
    assert job.job.startswith("lehr-mnist-")
    end = next(event for event in exits(events) if event.state == "TrainTrials")
    assert events.index(job) < events.index(end)


def test_a_distributed_map_names_its_map_run() -> None:
    started = [event.state for event in told("promoted") if isinstance(event, MapRunStarted)]
    assert started == ["PrepareShards", "EvaluateShards"]


def test_a_trial_that_failed_counts_as_failed_though_its_map_went_on() -> None:
    events = told("failed")
    assert [event for event in events if isinstance(event, MapProgress)] == [
        MapProgress(state="TrainTrials", done=0, failed=0, of=1),
        MapProgress(state="TrainTrials", done=0, failed=1, of=1),
    ]
    assert [event.state for event in exits(events) if event.has_failed] == ["TrainTrials", "Failed"]


def test_a_failed_execution_ends_with_its_cause() -> None:
    ended = told("failed")[-1]
    assert isinstance(ended, ExecutionEnded)
    assert (ended.status, ended.error) == ("FAILED", "States.TaskFailed")
    assert ended.cause.startswith("TrainTrials: AlgorithmError: TypeError")


def test_an_aborted_execution_closes_the_state_that_was_going_on() -> None:
    events = told("aborted")
    assert exits(events)[-1].state == "TrainTrials"
    assert exits(events)[-1].has_failed
    assert events[-1].to_line()["status"] == "ABORTED"


def test_an_error_that_is_caught_ends_its_state_where_the_next_begins() -> None:
    begin = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    later = datetime.fromisoformat("2026-01-01T00:00:02.500+00:00")
    events = [
        {
            "id": 1,
            "type": "TaskStateEntered",
            "timestamp": begin,
            "stateEnteredEventDetails": {"name": "SealDataset"},
        },
        {"id": 2, "type": "TaskFailed", "timestamp": later, "taskFailedEventDetails": {}},
        {
            "id": 3,
            "type": "TaskStateEntered",
            "timestamp": later,
            "stateEnteredEventDetails": {"name": "RecordFailure"},
        },
    ]
    seen = exits(list(Timeline().read(events)))
    assert [(event.state, event.seconds, event.has_failed) for event in seen] == [("SealDataset", 2.5, True)]


def test_events_are_told_once_however_the_pages_fall() -> None:
    events = history("promoted")
    pages = Pages(events)
    reader = HistoryReader(pages, "arn")
    seen = []
    for visible in range(0, len(events) + 1, 2):
        pages.visible = visible
        seen += [event["id"] for event in reader.new_events()]
    pages.visible = len(events)
    seen += [event["id"] for event in reader.new_events()]
    assert seen == [event["id"] for event in events]


def test_only_the_last_page_is_asked_for_again() -> None:
    pages = Pages(history("promoted"))
    pages.visible = 10
    reader = HistoryReader(pages, "arn")
    list(reader.new_events())
    pages.asked.clear()
    list(reader.new_events())
    assert pages.asked == [9]


def test_events_have_their_name_and_fields_on_the_wire() -> None:
    line = MapProgress(state="PrepareShards", done=1, of=3).to_line()
    assert line == {"event": "map_progress", "state": "PrepareShards", "done": 1, "failed": 0, "of": 3}


def answered(payload: Any, resource_type: str = "lambda") -> list[RunEvent]:
    return list(_slice({"resourceType": resource_type, "output": json.dumps({"Payload": payload})}))


def test_a_slice_of_a_function_is_told_with_what_it_reached_and_other_answers_are_none() -> None:
    progress = SliceProgress(slices=3, update=5512, seconds=540)
    answer = SliceAnswer(status="continues", job="j", progress=progress, instance_type="lambda-3008mb")
    assert answered(answer.to_value()) == [
        SliceEnded(job="j", status="continues", slice=3, update=5512, seconds=540)
    ]
    assert answered(answer.to_value(), "sagemaker") == []
    assert answered({"version": "1"}) == []
    assert answered(None) == []

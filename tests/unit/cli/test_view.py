"""What is printed of a run where there is no terminal, and with --json."""

from __future__ import annotations

import json

import pytest

from lehr.contracts.evaluation import Decision, RuleResult
from lehr_cli.events import (
    Decided,
    Epoch,
    MapProgress,
    RunEvent,
    SliceEnded,
    StateEntered,
    StateExited,
    TrainingJobStarted,
    TrainingWaits,
)
from lehr_cli.output import Output, duration
from lehr_cli.view import RunView

AT = "2026-01-01T00:00:00.000+00:00"


def epoch(job: str) -> Epoch:
    return Epoch(
        job=job,
        epoch=1,
        epochs=5,
        loss=0.2951,
        accuracy=0.9142,
        validation_loss=0.1,
        validation_accuracy=0.95,
        samples_per_second=36_500.0,
        seconds=1.5,
    )


def shown(*events: RunEvent | None, is_json: bool = False) -> None:
    with RunView(Output(is_json=is_json)) as view:
        for event in events:
            view.show(event)


def test_a_state_is_a_line_with_its_time_and_its_items(capsys: pytest.CaptureFixture[str]) -> None:
    shown(
        StateEntered(state="PrepareShards", at=AT),
        MapProgress(state="PrepareShards", done=2, of=3),
        None,
        MapProgress(state="PrepareShards", done=3, of=3),
        StateExited(state="PrepareShards", at=AT, seconds=3.14),
    )
    assert capsys.readouterr().out == "✓ PrepareShards        3.1 s  3/3\n"


def test_a_failed_state_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    shown(
        StateEntered(state="TrainTrials", at=AT),
        MapProgress(state="TrainTrials", done=0, failed=1, of=1),
        StateExited(state="TrainTrials", at=AT, seconds=9.6, has_failed=True),
    )
    assert capsys.readouterr().out == "✗ TrainTrials          9.6 s  0/1, 1 failed\n"


def test_states_that_take_no_time_are_not_worth_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    shown(StateEntered(state="Gate", at=AT), StateExited(state="Gate", at=AT, seconds=0.002))
    assert capsys.readouterr().out == ""


def test_an_epoch_has_its_numbers_with_units(capsys: pytest.CaptureFixture[str]) -> None:
    shown(epoch("lehr-mnist-1-0-0"))
    assert capsys.readouterr().out == (
        "    epoch 1/5  loss 0.2951  accuracy 0.9142  validation accuracy 0.9500  36,500 samples/s  1.5 s\n"
    )


def test_epochs_of_two_trials_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = ("lehr-mnist-1-0-0", "lehr-mnist-1-1-0")
    shown(*(TrainingJobStarted(job=job) for job in jobs), epoch(jobs[1]))
    assert "    trial 1  epoch 1/5" in capsys.readouterr().out


def test_a_job_that_waits_says_why_in_the_words_of_its_backend(capsys: pytest.CaptureFixture[str]) -> None:
    shown(
        TrainingWaits(
            job="lehr-mnist-1-0-a0r0d0",
            status="Pending",
            message="Insufficient [capacity] in eu-central-1",
            seconds=75.0,
        )
    )
    assert capsys.readouterr().out == (
        "    waits since 1 min 15.0 s, Pending: Insufficient [capacity] in eu-central-1\n"
    )


def test_slices_say_how_far_they_came(capsys: pytest.CaptureFixture[str]) -> None:
    for status, number in (("continues", 3), ("Completed", 4)):
        job = "lehr-mnist-1-0-a0r0d0"
        shown(SliceEnded(job=job, status=status, slice=number, update=5512, seconds=540))
    assert capsys.readouterr().out.splitlines() == [
        "    trial 0  slice 3 ended at update 5,512, 9 min 00.0 s so far",
        "    trial 0  slice 4 ended at the end, 9 min 00.0 s so far",
    ]


def test_a_decision_shows_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    rules = [
        RuleResult(rule="test rows", required=">= 100", observed="10000", passed=True),
        RuleResult(rule="accuracy", required=">= 0.9750", observed="0.9000", passed=False),
    ]
    shown(Decided(decision=Decision(verdict="reject", reason="accuracy [too] low", rules=rules)))
    assert capsys.readouterr().out.splitlines() == [
        "    ✓ test rows: 10000  required >= 100",
        "    ✗ accuracy: 0.9000  required >= 0.9750",
        "    reject: accuracy [too] low",
    ]


def test_json_is_one_object_a_line_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    shown(StateEntered(state="Gate", at=AT), None, epoch("job"), is_json=True)
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["event"] for line in lines] == ["state_entered", "epoch"]
    assert lines[1]["loss"] == 0.2951
    assert printed.err == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (65.3, "1 min 05.3 s"),
        (3725.0, "1 h 02 min 05.0 s"),
        (59.97, "60.0 s"),
    ],
)
def test_durations_have_one_decimal_and_a_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text

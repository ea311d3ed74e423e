"""Resuming a run: what was made is found again, and what may not go on is refused with the way out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from functions.propose_trials.propose import propose
from lehr import layout
from lehr.clock import now
from lehr.contracts.registry import RunRecord
from lehr.contracts.sweep import RoundResult, Sweep
from lehr.contracts.workflow import (
    Failure,
    ProposeRequest,
    RunInput,
    StartAnswer,
    StartRequest,
    TrialResult,
)
from lehr.resuming import MAX_RESUMES, RESUMABLE_DAYS, execution_name
from tests.unit.functions.test_package_model import packed, trained
from tests.unit.functions.test_start_run import RECIPE, World


class FailedWorld(World):
    """A run that was started, and failed in some state."""

    def __init__(self, recipe: str = RECIPE) -> None:
        super().__init__()
        self.push(recipe, "c0de")
        self.run = self.start_run.start(StartRequest(project="mnist")).run
        body = RunInput.from_json(self.executions.inputs[f"mnist-{self.run}"])
        plan = msgspec.json.decode(self.artifacts.get(layout.plan_key("mnist", self.run)))
        self.first, self.units = body, len(plan)

    def fail(self, state: str = "PackageModel", **more: Any) -> None:
        failure = Failure(
            project="mnist", run=self.run, state=state, error="E", reason="r", log_tail=[], log_url=""
        )
        self.artifacts.put(layout.failure_key("mnist", self.run), failure.to_json())
        name = execution_name("mnist", self.run, self.record.resumes)
        self.executions.stopped.add(f"arn:{name}")
        self.registry.end_run("mnist", self.run, status="failed", reason=state, ended_at=now())

    def prepare(self, *indexes: int) -> None:
        for index in indexes or range(self.units):
            self.artifacts.put(layout.unit_result_key("mnist", self.run, index), b"{}")

    def train(self, round_: int = 0, **statuses: Any) -> None:
        """Let ProposeTrials propose a round, and record what the trials of it gave: `t0="Failed"`, or completed."""
        proposed = propose(self._ask(round_, []), self.artifacts)
        assert proposed.verdict == "train", proposed
        self.results = [
            self._result(trial.id, statuses.get(f"t{trial.id}", "Completed")) for trial in proposed.trials
        ]
        self.verdict: str = propose(self._ask(round_ + 1, self.results), self.artifacts).verdict

    def _ask(self, round_: int, results: list[TrialResult]) -> ProposeRequest:
        return ProposeRequest(project="mnist", run=self.run, round=round_, results=results)

    def _result(self, trial: str, status: Any) -> TrialResult:
        key = layout.trials_prefix("mnist", self.run) + f"job-{trial}/output/model.tar.gz"
        if status == "Completed":
            self.artifacts.put(key, packed(trained()))
            return TrialResult(
                id=trial, status=status, job=f"job-{trial}", model=self.artifacts.uri(key), image="i"
            )
        return TrialResult(
            id=trial, status=status, job=f"job-{trial}", error="States.TaskFailed", cause="boom"
        )

    def resume(self) -> StartAnswer:
        return self.start_run.start(StartRequest(project="mnist", trigger="again-001", resume=self.run))

    @property
    def record(self) -> RunRecord:
        record = self.registry.run("mnist", self.run)
        assert record is not None
        return record

    @property
    def input(self) -> RunInput:
        """Of the last resume."""
        return RunInput.from_json(
            self.executions.inputs[execution_name("mnist", self.run, self.record.resumes)]
        )


def grid(*, max_failed_fraction: float) -> str:
    """A recipe of two trials."""
    trials = f'[trials]\nsearch = "grid"\nmax_failed_fraction = {max_failed_fraction}\n'
    return f"{RECIPE}\n{trials}[trials.space]\nlearning_rate = [0.1, 0.01]\n"


def test_a_run_that_failed_after_its_training_goes_on_after_its_training() -> None:
    world = FailedWorld()
    world.prepare()
    world.train()
    assert world.verdict == "complete"
    world.fail("EvaluateShards")
    answer = world.resume()
    assert (answer.outcome, answer.run) == ("started", world.run)
    assert answer.reason == "the data is prepared; 1 trained trial(s) stay"
    assert (world.input.is_prepared, world.input.round, world.input.resumes) == (True, 1, 1)
    assert world.input == msgspec.structs.replace(world.first, is_prepared=True, round=1, resumes=1)
    assert (world.record.status, world.record.execution_arn) == ("running", answer.execution_arn)
    # What the machine then asks: nothing is to be trained any more.
    asked = ProposeRequest(project="mnist", run=world.run, round=world.input.round, results=[])
    assert propose(asked, world.artifacts).verdict == "complete"


def test_only_units_without_a_result_are_prepared_again() -> None:
    world = FailedWorld()
    done = [index for index in range(world.units) if index != 1]
    world.prepare(*done)
    world.fail("PrepareShards")
    answer = world.resume()
    assert f"{world.units - 1} of {world.units} units are prepared" in answer.reason
    assert not world.input.is_prepared
    rest = msgspec.json.decode(world.artifacts.get(world.input.plan.key))
    assert [item["index"] for item in rest] == [1]


def test_trials_that_failed_are_proposed_again_and_those_that_were_trained_are_not() -> None:
    recipe = (
        RECIPE
        + '\n[trials]\nsearch = "grid"\nmax_failed_fraction = 0.0\n[trials.space]\nlearning_rate = [0.1, 0.01]\n'
    )
    world = FailedWorld(recipe)
    world.prepare()
    world.train(t1="Failed")
    assert world.verdict == "failed"
    world.fail("TrainTrials")
    assert world.resume().reason.endswith("1 trained trial(s) stay")
    asked = ProposeRequest(project="mnist", run=world.run, round=world.input.round, results=[])
    proposed = propose(asked, world.artifacts)
    assert (proposed.verdict, [trial.id for trial in proposed.trials]) == ("train", ["1"])
    world.train(world.input.round)
    assert world.verdict == "complete"
    sweep = Sweep.from_json(world.artifacts.get(layout.sweep_key("mnist", world.run)))
    assert [(one.id, one.status, one.is_superseded) for one in sweep.trials] == [
        ("0", "completed", False),
        ("1", "failed", True),
        ("1", "completed", False),
    ]
    assert sweep.record("1").status == "completed"


def test_a_single_trial_that_failed_is_trained_again_whatever_share_of_failures_is_allowed() -> None:
    world = FailedWorld(RECIPE + "\n[trials]\nmax_failed_fraction = 1.0\n")
    world.prepare()
    world.train(t0="Failed")
    assert world.verdict == "failed"
    world.fail("TrainTrials")
    world.resume()
    asked = ProposeRequest(project="mnist", run=world.run, round=world.input.round, results=[])
    assert [trial.id for trial in propose(asked, world.artifacts).trials] == ["0"]


def test_failures_that_were_allowed_for_stay_what_they_are() -> None:
    recipe = (
        RECIPE
        + '\n[trials]\nsearch = "grid"\nmax_failed_fraction = 0.5\n[trials.space]\nlearning_rate = [0.1, 0.01]\n'
    )
    world = FailedWorld(recipe)
    world.prepare()
    world.train(t1="Failed")
    assert world.verdict == "complete"
    world.fail("PackageModel")
    world.resume()
    asked = ProposeRequest(project="mnist", run=world.run, round=world.input.round, results=[])
    assert propose(asked, world.artifacts).verdict == "complete"
    result = RoundResult.from_json(world.artifacts.get(layout.round_result_key("mnist", world.run, 0)))
    assert not any(record.is_superseded for record in result.trials)


def test_a_round_that_was_cut_off_is_trained_again_under_other_names_of_jobs() -> None:
    world = FailedWorld()
    world.prepare()
    propose(ProposeRequest(project="mnist", run=world.run, round=0, results=[]), world.artifacts)
    # Stopped from outside: the record still says that it runs.
    world.executions.stopped.add(f"arn:mnist-{world.run}")
    world.resume()
    assert (world.input.is_prepared, world.input.round, world.input.resumes) == (True, 0, 1)


def test_a_run_can_be_resumed_again_and_not_for_ever() -> None:
    world = FailedWorld()
    world.prepare()
    for number in range(1, MAX_RESUMES + 1):
        world.fail()
        assert world.resume().execution_arn == f"arn:mnist-{world.run}-m{number}"
    world.fail()
    assert f"was resumed {MAX_RESUMES} times" in world.resume().reason


def erased(world: FailedWorld) -> None:
    world.fail()
    world.registry.set_run_erased("mnist", world.run)


def old(world: FailedWorld) -> None:
    world.fail()
    ended = datetime.now(UTC) - timedelta(days=RESUMABLE_DAYS, minutes=1)
    key = ("mnist", world.run)
    world.registry.run_records[key] = msgspec.structs.replace(
        world.record, ended_at=ended.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def promoted(world: FailedWorld) -> None:
    world.registry.end_run("mnist", world.run, status="promoted")


def forgotten(world: FailedWorld) -> None:
    world.fail()
    world.executions.inputs.clear()


def too_dear(world: FailedWorld, state: str = "TrainTrials") -> None:
    world.fail(state)
    recipe = msgspec.json.decode(world.artifacts.get(layout.recipe_key("mnist", world.run)))
    recipe["budget"]["max_usd_per_month"] = 0.001
    world.artifacts.put(layout.recipe_key("mnist", world.run), msgspec.json.encode(recipe))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda world: None, "goes on (lehr watch"),
        (promoted, "did not fail: it was promoted (lehr why"),
        (erased, "was erased: nothing of it is left (start anew: lehr train mnist)"),
        (old, f"more than {RESUMABLE_DAYS} days ago"),
        (forgotten, "Step Functions no longer knows"),
        (too_dear, "over max_usd_per_month"),
    ],
)
def test_what_cannot_go_on_is_refused_with_the_way_out(spoil: Any, said: str) -> None:
    world = FailedWorld()
    world.prepare()
    spoil(world)
    before = dict(world.executions.inputs)
    answer = world.resume()
    assert answer.outcome == "refused"
    assert said in answer.reason
    assert world.executions.inputs == before


def test_a_run_that_is_trained_is_not_asked_for_its_budget_again() -> None:
    world = FailedWorld()
    world.prepare()
    world.train()
    too_dear(world, "PackageModel")
    assert world.resume().outcome == "started"


def test_a_run_that_is_not_there_is_refused() -> None:
    world = FailedWorld()
    answer = world.start_run.start(StartRequest(project="mnist", resume="nothing"))
    assert "there is no run 'nothing' of mnist" in answer.reason


def test_while_another_run_goes_on_none_is_resumed_and_who_waits_is_not_forgotten() -> None:
    world = FailedWorld()
    world.prepare()
    world.fail()
    world.drop(
        "t10k-labels-idx1-ubyte.gz", world.data.objects["incoming/mnist/t10k-labels-idx1-ubyte.gz"] + b"\0"
    )
    other = world.start_run.start(StartRequest(project="mnist", trigger="other-001"))
    assert other.outcome == "started"
    assert f"run {other.run} of mnist goes on" in world.resume().reason
    world.registry.end_run("mnist", other.run, status="promoted")
    world.executions.stopped.add(other.execution_arn)
    turn = world.registry.turn("mnist")
    assert turn is not None
    world.registry.wait_for_turn(turn, "waiting-01")
    assert world.resume().outcome == "started"
    turn = world.registry.turn("mnist")
    assert turn is not None
    assert (turn.run, turn.waiting) == (world.run, ["waiting-01"])
    assert world.registry.trigger("mnist", "waiting-01") is None

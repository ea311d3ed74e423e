"""propose_trials: rounds that remember nothing, give the same answer twice, and know when to stop."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from functions.propose_trials.propose import propose
from lehr import layout
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.sweep import Proposal, Sweep
from lehr.contracts.training import TrainingSummary, Trial, read_hyperparameters
from lehr.contracts.workflow import ProposedTrials, ProposeRequest, TrialResult
from lehr.errors import ContractError
from tests.fakes import InMemoryObjectStore
from tests.unit.core.test_sweep_rules import BASE
from tests.unit.functions.test_package_model import packed, summary

SPACE = "\n[trials.space]\nlearning_rate = { low = 1e-4, high = 1e-1, log = true }\nbatch_size = [32, 64]\n"
HALVING = f'search = "successive_halving"\ncount = 6\neta = 2\nmin_epochs = 2{SPACE}'
TPE = f'search = "tpe"\ncount = 5\nconcurrency = 2\nobjective = "validation_accuracy"{SPACE}'


class Run:
    """A run whose trials reach what `accuracy` says of their settings; None: the trial fails."""

    def __init__(self, trials: str) -> None:
        self.store = InMemoryObjectStore("artifacts")
        recipe = parse_recipe(f"{BASE}\n[trials]\n{trials}")
        self.store.put(layout.recipe_key("mnist", "r1"), recipe.to_json())
        self.round, self.results = 0, list[TrialResult]()
        self.trained: list[list[Trial]] = []

    def ask(self) -> ProposedTrials:
        request = ProposeRequest(project="mnist", run="r1", round=self.round, results=self.results)
        answer = propose(request, self.store)
        if answer.verdict == "train":
            self.trained.append(answer.trials)
        return answer

    def tell(self, trials: list[Trial], **accuracies: float | None) -> None:
        self.round += 1
        self.results = [
            self._train(one, accuracies.get(f"_{one.id}", accuracies.get("others", 0.5))) for one in trials
        ]

    def _train(self, one: Trial, accuracy: float | None) -> TrialResult:
        if accuracy is None:
            cause = '{"FailureReason": "AlgorithmError: the loss is no longer finite"}'
            return TrialResult(
                id=one.id, status="Failed", job=f"j{one.name}", error="States.TaskFailed", cause=cause
            )
        key = f"runs/mnist/r1/trials/j{one.name}/output/model.tar.gz"
        self.store.put(
            key,
            packed({"training.json": _summary(accuracy, int(one.hyperparameters.get("rung_epochs", "9")))}),
        )
        return TrialResult(id=one.id, status="Completed", job=f"j{one.name}", model=self.store.uri(key))

    def finish(self, **accuracies: float | None) -> ProposedTrials:
        while (answer := self.ask()).verdict == "train":
            self.tell(answer.trials, **accuracies)
        return answer

    @property
    def sweep(self) -> Sweep:
        return Sweep.from_json(self.store.objects[layout.sweep_key("mnist", "r1")])


def _summary(accuracy: float, epochs: int) -> bytes:
    told = TrainingSummary.from_json(summary(accuracy))
    records = [msgspec.structs.replace(told.epochs[0], epoch=epoch + 1) for epoch in range(epochs)]
    return msgspec.structs.replace(told, epochs=records).to_json()


def test_an_ordinary_run_is_a_sweep_of_one() -> None:
    run = Run("")
    assert run.finish(others=0.9).verdict == "complete"
    ((only,),) = run.trained
    assert (only.id, only.name, only.hyperparameters["epochs"]) == ("0", "0", "9")
    assert (run.sweep.best, run.sweep.count, run.sweep.trials[0].objective) == ("0", 1, 0.9)


def test_a_grid_goes_in_rounds_that_fit_through_a_state() -> None:
    run = Run('search = "grid"\n[trials.space]\nseed = { low = 1, high = 90 }')
    assert run.finish(_77=0.8).verdict == "complete"
    assert [len(trials) for trials in run.trained] == [40, 40, 10]
    assert [one.id for trials in run.trained for one in trials] == [str(number) for number in range(90)]
    assert run.sweep.best == "77"


def test_halving_trains_six_then_three_then_one_each_time_the_best() -> None:
    run = Run(HALVING)
    better = {"_4": 0.9, "_1": 0.8, "_5": 0.7, "others": 0.5}
    assert run.finish(**better).verdict == "complete"
    assert [[one.name for one in trials] for trials in run.trained] == [
        ["0", "1", "2", "3", "4", "5"],
        ["1b", "4b", "5b"],
        ["4c"],
    ]
    assert [trials[0].hyperparameters.get("rung_epochs") for trials in run.trained] == ["2", "4", None]
    assert (run.sweep.best, run.sweep.rungs) == ("4c", (2, 4, 9))
    assert [len(record.curve) for record in run.sweep.last()] == [2, 4, 2, 2, 9, 4]
    # The same trial, and so the same checkpoints.
    assert {one.id for trials in run.trained for one in trials if one.point == run.trained[2][0].point} == {
        "4"
    }


def test_fewer_epochs_are_not_compared_with_more() -> None:
    """A trial that was given up after a lucky epoch is not the best of those that went on."""
    run = Run(HALVING)
    run.tell(run.ask().trials, _0=0.9, _1=0.9, _2=0.9)
    run.tell(run.ask().trials, _0=0.6, _1=0.4, _2=0.4)
    run.tell(run.ask().trials, _0=0.5)
    assert run.ask().verdict == "complete"
    assert run.sweep.best == "0c"


def test_a_promoted_trial_that_fails_leaves_the_rung_below_to_choose_from() -> None:
    run = Run(HALVING)
    run.tell(run.ask().trials, _0=0.9, _1=0.8, _2=0.7)
    run.tell(run.ask().trials, _0=0.9, _1=0.8, _2=0.7)
    run.tell(run.ask().trials, _0=None)
    assert run.ask().verdict == "complete"
    assert run.sweep.best == "0b"


def test_trials_that_fail_are_recorded_with_a_reason_and_the_others_go_on() -> None:
    run = Run(HALVING)
    assert run.finish(_3=None, _4=None, _0=0.9).verdict == "complete"
    failed = [record for record in run.sweep.trials if record.status == "failed"]
    assert [record.id for record in failed] == ["3", "4"]
    assert {record.reason for record in failed} == {"AlgorithmError: the loss is no longer finite"}
    assert "3" not in {one.id for trials in run.trained[1:] for one in trials}


def test_more_failures_than_the_recipe_allows_end_the_run_with_the_cause_of_one() -> None:
    run = Run(TPE)
    run.tell(run.ask().trials, others=None)
    assert run.ask().verdict == "train"
    run.tell(run.trained[-1], others=None)
    answer = run.ask()
    assert (answer.verdict, answer.error, answer.trials) == ("failed", "States.TaskFailed", [])
    assert "no longer finite" in answer.cause
    assert run.sweep.best == ""


def test_the_fraction_is_the_recipes_own() -> None:
    run = Run(f"max_failed_fraction = 1.0\n{TPE}")
    assert run.finish(others=None, _4=0.6).verdict == "complete"
    assert run.sweep.best == "4"
    assert Run(f"max_failed_fraction = 1.0\n{TPE}").finish(others=None).verdict == "failed"


def test_a_model_that_cannot_be_read_is_a_failed_trial() -> None:
    run = Run("overrides = [{}, {}]")
    trials = run.ask().trials
    run.tell(trials)
    run.store.put("runs/mnist/r1/trials/j1/output/model.tar.gz", b"no archive")
    assert run.ask().verdict == "complete"
    assert [record.status for record in run.sweep.trials] == ["completed", "failed"]
    assert "not a readable model archive" in run.sweep.trials[1].reason


def test_a_call_that_is_made_again_gives_the_same_answer_and_writes_nothing() -> None:
    run = Run(TPE)
    run.tell(run.ask().trials, _0=0.9, _1=0.1)
    first = run.ask()
    run.store.writes.clear()
    assert run.ask() == first
    assert run.store.writes == [layout.sweep_key("mnist", "r1")]


def test_a_proposal_that_is_there_holds_whatever_the_sampler_would_say_now() -> None:
    run = Run(TPE)
    key = layout.proposal_key("mnist", "r1", 0)
    other = Proposal(round=0, trials=[Trial(id="0", name="0", hyperparameters={"epochs": "1"})])
    run.store.put(key, other.to_json())
    assert run.ask().trials == other.trials


def test_results_of_a_round_that_came_twice_count_once() -> None:
    run = Run(TPE)
    run.tell(run.ask().trials, _0=0.9, _1=0.1)
    run.ask()
    run.results = [msgspec.structs.replace(one, status="Failed") for one in run.results]
    run.ask()
    assert {record.status for record in run.sweep.trials} == {"completed"}


def test_a_round_whose_predecessor_was_never_recorded_is_refused() -> None:
    run = Run(TPE)
    run.ask()
    run.round = 2
    with pytest.raises(ContractError, match="round 0 was never recorded"):
        run.ask()


@pytest.mark.parametrize("trials", [TPE, HALVING, 'search = "random"\ncount = 7' + SPACE])
def test_the_same_recipe_and_results_give_the_same_trials(trials: str) -> None:
    def all_trials(seed: int) -> list[list[Trial]]:
        run = Run(f"seed = {seed}\n{trials}")
        run.finish(_0=0.3, _1=0.7, _2=0.9)
        return run.trained

    assert all_trials(1) == all_trials(1)
    assert all_trials(1) != all_trials(2)


def test_what_is_compared_is_the_objective_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The summaries of these trials have the same loss, so the first wins by it; by accuracy another one does."""
    names: dict[str, str] = {}
    for objective in ("validation_loss", "validation_accuracy"):
        run = Run(f'objective = "{objective}"\noverrides = [{{}}, {{}}]')
        run.finish(_0=0.5, _1=0.6)
        names[objective] = run.sweep.best
    assert names == {"validation_loss": "0", "validation_accuracy": "1"}


def test_state_and_answer_stay_far_below_the_limit_of_a_state() -> None:
    run = Run('search = "grid"\n[trials.space]\nseed = { low = 1, high = 40 }')
    answer: Any = run.ask().to_json()
    assert len(answer) < 64 * 1024


def test_a_trial_whose_held_out_loss_is_not_finite_is_not_compared_by_its_training_rows() -> None:
    run = Run("overrides = [{ seed = 1 }, { seed = 2 }]")
    answer = run.ask()
    run.tell(answer.trials, _0=0.6, _1=0.7)
    told = TrainingSummary.from_json(_summary(0.99, 2))
    last = msgspec.structs.replace(told.epochs[-1], validation_loss=None)
    broken = msgspec.structs.replace(told, epochs=[told.epochs[0], last]).to_json()
    run.store.put("runs/mnist/r1/trials/j1/output/model.tar.gz", packed({"training.json": broken}))
    assert run.ask().verdict == "complete"
    assert run.sweep.best == "0"
    assert "held-out rows is not finite" in run.sweep.record("1").reason


@pytest.mark.parametrize(("wall_s", "told"), [(0, None), (480, "480")])
def test_every_trial_knows_its_wall(wall_s: int, told: str | None) -> None:
    store = InMemoryObjectStore("artifacts")
    store.put(layout.recipe_key("mnist", "r1"), parse_recipe(BASE).to_json())
    request = ProposeRequest(project="mnist", run="r1", round=0, results=[], wall_s=wall_s)
    (trial,) = propose(request, store).trials
    assert trial.hyperparameters.get("wall_s") == told
    assert read_hyperparameters(trial.hyperparameters).wall_s == (wall_s or None)

"""cost.json: written by whoever sees the end of the training first, and never twice with less in it."""

from __future__ import annotations

import json

import msgspec
import pytest

from functions.package_model.publish import package_best_trial
from functions.record_failure.cost import record_failed_cost
from lehr import layout
from lehr.contracts.cost import RunCost
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.sweep import Proposal
from lehr.contracts.training import Trial
from lehr.contracts.workflow import FailureRequest, TrialResult
from lehr.errors import NoCompletedTrialError
from tests.fakes import InMemoryObjectStore, InMemoryRegistry, without_more
from tests.sweeps import record_trials
from tests.unit.functions.test_package_model import completed, world
from tests.unit.functions.test_start_run import RECIPE

JOB = "lehr-mnist-r1-0-0"
CAUSE = json.dumps(
    {
        "TrainingJobName": JOB,
        "TrainingJobStatus": "Failed",
        "ResourceConfig": {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 1},
        "TrainingTimeInSeconds": 720,
        "BillableTimeInSeconds": 360,
    }
)
KEY = "runs/mnist/r1/cost.json"


def failed(state: str, cause: str = "", job: str = "", recipe: str = RECIPE) -> RunCost | None:
    store = InMemoryObjectStore("artifacts")
    store.put("runs/mnist/r1/recipe.json", parse_recipe(recipe).to_json())
    store.put("runs/mnist/r1/plan.json", b"[{}, {}]")
    request = FailureRequest(project="mnist", run="r1", state=state, error="E", cause=cause)
    record_failed_cost(request, job, store, InMemoryRegistry())
    return RunCost.from_json(store.objects[KEY]) if KEY in store.objects else None


def test_packaging_writes_what_every_trial_was_billed_for_failed_ones_too() -> None:
    store, request = world(0.9, 0.8)
    results = [completed(number, billable_seconds=360) for number in range(2)]
    record_trials(store, [*results, TrialResult(id="2", status="Failed", job=JOB, cause=CAUSE)])
    package_best_trial(request, store, InMemoryRegistry(), without_more)
    cost = RunCost.from_json(store.objects[KEY])
    assert [trial.usd for trial in cost.trials] == [0.1408, 0.1408, 0.1408]
    assert (cost.training_usd, cost.is_complete) == (0.4224, True)


def test_packaging_counts_every_instance_of_a_job() -> None:
    store, request = world(0.9)
    record_trials(store, [completed(0, billable_seconds=360)])
    request = msgspec.structs.replace(request, instance_count=2)
    package_best_trial(request, store, InMemoryRegistry(), without_more)
    (trial,) = RunCost.from_json(store.objects[KEY]).trials
    assert (trial.instance_count, trial.usd) == (2, 0.2816)


def test_a_run_with_warm_pools_is_a_lower_bound_so_that_the_month_counts_its_worst_case() -> None:
    store, request = world(0.9)
    record_trials(store, [completed(0, billable_seconds=360)])
    request = msgspec.structs.replace(request, keep_alive_s=600)
    package_best_trial(request, store, InMemoryRegistry(), without_more)
    assert not RunCost.from_json(store.objects[KEY]).is_complete
    cost = failed("TrainTrials", CAUSE, JOB, RECIPE.replace("[backend]", "[backend]\nkeep_alive_s = 600"))
    assert cost is not None
    assert not cost.is_complete


def test_a_run_whose_packaging_fails_has_its_cost_all_the_same() -> None:
    store, request = world()
    result = TrialResult(id="0", status="Failed", job=JOB, cause=CAUSE)
    record_trials(store, [result])
    with pytest.raises(NoCompletedTrialError):
        package_best_trial(request, store, InMemoryRegistry(), without_more)
    assert RunCost.from_json(store.objects[KEY]).trials[0].billable_seconds == 360


def test_a_failed_training_costs_what_its_job_was_billed_for_on_its_own_instance() -> None:
    cost = failed("TrainTrials", CAUSE, JOB)
    assert cost is not None
    (trial,) = cost.trials
    assert (trial.trial, trial.instance_type, trial.seconds, trial.usd) == ("0", "ml.g5.2xlarge", 720, 0.1515)
    assert cost.is_complete


def test_of_several_failed_trials_one_is_known_and_the_sum_is_a_lower_bound() -> None:
    recipe = RECIPE + "\n[trials]\noverrides = [{ seed = 1 }, { seed = 2 }]\n"
    cost = failed("TrainTrials", CAUSE, JOB, recipe)
    assert cost is not None
    assert not cost.is_complete


def test_of_several_failed_trials_that_were_recorded_all_are_counted() -> None:
    store = InMemoryObjectStore("artifacts")
    recipe = RECIPE + "\n[trials]\noverrides = [{ seed = 1 }, { seed = 2 }]\n"
    store.put("runs/mnist/r1/recipe.json", parse_recipe(recipe).to_json())
    record_trials(store, [TrialResult(id=str(i), status="Failed", job=JOB, cause=CAUSE) for i in range(2)])
    request = FailureRequest(project="mnist", run="r1", state="TrainTrials", error="E", cause=CAUSE)
    record_failed_cost(request, JOB, store, InMemoryRegistry())
    cost = RunCost.from_json(store.objects[KEY])
    assert [trial.trial for trial in cost.trials] == ["0", "1"]
    assert cost.is_complete


def test_a_run_that_failed_before_training_costs_its_functions_only() -> None:
    cost = failed("SealDataset", "too few rows")
    assert cost is not None
    assert (cost.trials, cost.training_usd, cost.is_complete) == ([], 0.0, True)


@pytest.mark.parametrize("state", ["PublishTrainer", "ProposeTrials"])
def test_a_run_that_trained_nothing_yet_costs_its_functions_only(state: str) -> None:
    cost = failed(state, "no such layer")
    assert cost is not None
    assert (cost.trials, cost.is_complete) == ([], True)


@pytest.mark.parametrize("state", ["ProposeTrials", "TrainTrials"])
@pytest.mark.parametrize("is_first_recorded", [True, False])
def test_a_round_that_was_never_recorded_makes_the_cost_a_lower_bound(
    state: str, is_first_recorded: bool
) -> None:
    store = InMemoryObjectStore("artifacts")
    store.put("runs/mnist/r1/recipe.json", parse_recipe(RECIPE).to_json())
    if is_first_recorded:
        record_trials(store, [TrialResult(id="0", status="Failed", job=JOB, cause=CAUSE)])
    number = 1 if is_first_recorded else 0
    proposal = Proposal(round=number, trials=[Trial(id="1", name="1", hyperparameters={})])
    store.put(layout.proposal_key("mnist", "r1", number), proposal.to_json())
    request = FailureRequest(project="mnist", run="r1", state=state, error="E", cause="out of memory")
    record_failed_cost(request, "", store, InMemoryRegistry())
    assert not RunCost.from_json(store.objects[KEY]).is_complete


def test_a_training_of_which_nothing_is_known_is_not_called_free() -> None:
    cost = failed("TrainTrials", "States.Timeout")
    assert cost is not None
    assert not cost.is_complete


def test_a_cost_that_was_written_already_is_left_alone() -> None:
    store = InMemoryObjectStore("artifacts", {KEY: b"kept"})
    request = FailureRequest(project="mnist", run="r1", state="JudgeModel", error="E", cause="")
    record_failed_cost(request, "", store, InMemoryRegistry())
    assert store.objects[KEY] == b"kept"


def test_a_run_without_its_recipe_fails_with_its_own_reason_only() -> None:
    store = InMemoryObjectStore("artifacts")
    request = FailureRequest(project="mnist", run="r1", state="TrainTrials", error="E", cause=CAUSE)
    record_failed_cost(request, JOB, store, InMemoryRegistry())
    assert not store.objects


def test_every_round_of_a_sweep_has_called_the_function_that_proposes() -> None:
    totals = []
    for rounds in (1, 100):
        store, request = world(0.9)
        sweep = record_trials(store, [completed(0, billable_seconds=360)])
        last = msgspec.structs.replace(sweep.trials[0], round=rounds - 1)
        store.put(layout.sweep_key("mnist", "r1"), msgspec.structs.replace(sweep, trials=[last]).to_json())
        package_best_trial(request, store, InMemoryRegistry(), without_more)
        totals.append(RunCost.from_json(store.objects[KEY]).functions_usd)
    assert totals[0] < totals[1]

"""What the state machine computes for a training job: evaluated as the local cloud does, for the cases that matter."""

from __future__ import annotations

import re
from typing import Any

import pytest

from functions.start_run.attempts import plan_attempts
from lehr.contracts.recipe import Backend
from lehr_local.jsonata_engine import evaluate

LONGEST_PROJECT = "p" * 32
LONGEST_RUN = "0123456789ab-20"
SAGEMAKER_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


@pytest.fixture(scope="module")
def train(machine: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = machine["States"]["TrainTrials"]["ItemProcessor"]["States"]["Train"]
    return state


def bindings(
    backend: Backend, attempt: int = 0, redrives: int | None = None, **states: Any
) -> dict[str, Any]:
    execution = {} if redrives is None else {"RedriveCount": redrives}
    return {
        "project": LONGEST_PROJECT,
        "run": LONGEST_RUN,
        "attempt": attempt,
        "earlier": [],
        "attempts": [vars_of(attempt) for attempt in plan_attempts(backend, has_batch=True)],
        "resources": {"instance_count": 1, "volume_gb": 50, "max_runtime_s": 3600},
        "states": {"input": {"id": "19"}, "context": {"State": {"RetryCount": 5}, "Execution": execution}}
        | states,
    }


def vars_of(attempt: Any) -> dict[str, Any]:
    return {name: getattr(attempt, name) for name in attempt.__struct_fields__}


def computed(text: str, values: dict[str, Any]) -> Any:
    return evaluate(text.strip().removeprefix("{%").removesuffix("%}"), values)


@pytest.mark.parametrize(("attempt", "redrives", "end"), [(0, None, "19-a0r5d0"), (1, 3, "19-a1r5d3")])
def test_the_longest_job_name_fits_and_tells_attempts_retries_and_redrives_apart(
    train: dict[str, Any], attempt: int, redrives: int | None, end: str
) -> None:
    name = computed(train["Arguments"]["TrainingJobName"], bindings(Backend(), attempt, redrives))
    assert SAGEMAKER_NAME.fullmatch(name)
    assert name.endswith(end)


def test_spot_is_asked_for_first_and_waits_no_longer_than_it_may(train: dict[str, Any]) -> None:
    values = bindings(Backend(max_wait_s=7200))
    assert computed(train["Arguments"]["EnableManagedSpotTraining"], values) is True
    assert computed(train["Arguments"]["StoppingCondition"], values) == {
        "MaxRuntimeInSeconds": 3600,
        "MaxWaitTimeInSeconds": 7200,
    }
    assert computed(train["Arguments"]["ResourceConfig"], values)["InstanceType"] == "ml.g5.xlarge"


def test_on_demand_takes_the_first_of_an_ordered_list_and_has_no_wait(train: dict[str, Any]) -> None:
    values = bindings(Backend(fallback_instance_types=("ml.g6.xlarge", "ml.g4dn.xlarge")), attempt=1)
    assert computed(train["Arguments"]["EnableManagedSpotTraining"], values) is False
    assert computed(train["Arguments"]["StoppingCondition"], values) == {"MaxRuntimeInSeconds": 3600}
    assert computed(train["Arguments"]["ResourceConfig"], values) == {
        "VolumeSizeInGB": 50,
        "InstancePreferences": [
            {"InstanceType": name, "InstanceCount": 1}
            for name in ("ml.g5.xlarge", "ml.g6.xlarge", "ml.g4dn.xlarge")
        ],
    }


def test_without_spot_there_is_one_attempt() -> None:
    assert [attempt.spot for attempt in plan_attempts(Backend(spot=False), has_batch=False)] == [False]


@pytest.mark.parametrize(
    ("error", "cause", "goes_on"),
    [
        (
            "States.TaskFailed",
            '{"FailureReason":"CapacityError: Unable to provision requested ML compute capacity."}',
            True,
        ),
        ("SageMaker.ResourceLimitExceededException", "The account-level service limit is 0 Instances", True),
        (
            "States.TaskFailed",
            '{"TrainingJobStatus":"Stopped","SecondaryStatus":"MaxWaitTimeExceeded"}',
            True,
        ),
        ("States.TaskFailed", '{"TrainingJobStatus":"Stopped","SecondaryStatus":"Interrupted"}', True),
        (
            "States.TaskFailed",
            '{"FailureReason":"AlgorithmError: ValueError: no such layer, exit code: 1"}',
            False,
        ),
        (
            "States.TaskFailed",
            '{"TrainingJobStatus":"Stopped","SecondaryStatus":"MaxRuntimeExceeded"}',
            False,
        ),
        ("States.TaskFailed", '{"TrainingJobStatus":"Stopped","SecondaryStatus":"Stopped"}', False),
        ("States.Timeout", "", False),
    ],
)
def test_only_a_lack_of_capacity_is_tried_again_in_another_way(
    train: dict[str, Any], error: str, cause: str, goes_on: bool
) -> None:
    (catch,) = train["Catch"]
    values = bindings(Backend(), errorOutput={"Error": error, "Cause": cause})
    assert computed(catch["Assign"]["hasNoCapacity"], values) is goes_on
    assert computed(catch["Assign"]["attempt"], values) == 1


@pytest.mark.parametrize(
    ("cause", "seconds"),
    [
        ('{"TrainingStartTime":1,"BillableTimeInSeconds":42}', 42),
        ('{"TrainingStartTime":1}', None),
        ('{"FailureReason":"CapacityError"}', 0),
    ],
)
def test_what_an_attempt_has_cost_is_kept_when_the_next_one_begins(
    train: dict[str, Any], cause: str, seconds: int | None
) -> None:
    (catch,) = train["Catch"]
    values = bindings(Backend(), errorOutput={"Error": "States.TaskFailed", "Cause": cause})
    (earlier,) = computed(catch["Assign"]["earlier"], values)
    assert earlier["job"] == computed(train["Arguments"]["TrainingJobName"], values)
    assert earlier["billable_seconds"] == seconds


@pytest.mark.parametrize(
    ("attempts", "kept"), [([], []), ([{"job": "a"}], []), ([{"job": "a"}, {"job": "b"}], [{"job": "a"}])]
)
def test_a_failed_trial_lists_the_attempts_before_its_last(
    machine: dict[str, Any], attempts: list[dict[str, str]], kept: list[dict[str, str]]
) -> None:
    failed = machine["States"]["TrainTrials"]["ItemProcessor"]["States"]["TrialFailed"]
    assert computed(failed["Output"]["earlier"], {"earlier": attempts}) == kept

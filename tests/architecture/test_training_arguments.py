"""What the state machine computes for a training job: evaluated as the local cloud does, for the cases that matter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import botocore.session
import msgspec
import pytest
from botocore.validate import ParamValidator

from functions.record_failure.explain import batch_stream, explain, function_stream, training_job
from functions.start_run.attempts import plan_attempts
from lehr.contracts import backend_rules
from lehr.contracts.recipe_tables import Backend
from lehr.contracts.slices import SliceProgress, SliceRequest
from lehr.contracts.workflow import TrialResult
from lehr.costs import trial_costs
from lehr.prices import load_prices
from lehr.sweeps import ROUND_TRIALS
from lehr_local.jsonata_engine import evaluate
from lehr_local.training_request import refusal

LONGEST_PROJECT = "p" * 32
LONGEST_RUN = "0123456789ab-20"
PREFIX = "lehr-51af3dc0-"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
SUBSTITUTIONS = {
    "TrainingRoleArn": "arn:aws:iam::123456789012:role/training",
    "TrainerImageUri": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/trainer:1",
    "StackName": "lehr-prod",
    "JobPrefix": PREFIX,
    "KmsKeyArn": "",
    "TrainingSubnetIds": "",
    "TrainingSecurityGroupIds": "",
    "TrainSliceFunction": "train-slice",
    "TrainSliceImage": "image",
}
SAGEMAKER_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


@pytest.fixture(scope="module")
def states(machine: dict[str, Any]) -> dict[str, Any]:
    """The states of one trial."""
    found: dict[str, Any] = machine["States"]["TrainTrials"]["ItemProcessor"]["States"]
    return found


@pytest.fixture(scope="module")
def train(states: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = states["Train"]
    return state


def bindings(
    backend: Backend,
    attempt: int = 0,
    redrives: int | None = None,
    instances: int = 1,
    trial_id: str = "19",
    **states: Any,
) -> dict[str, Any]:
    execution = {} if redrives is None else {"RedriveCount": redrives}
    trial = {"id": trial_id.rstrip("b"), "name": trial_id, "hyperparameters": {"epochs": "5"}}
    return {
        "project": LONGEST_PROJECT,
        "run": LONGEST_RUN,
        "codeUri": "s3://artifacts/projects/p/c0de/",
        "dataset": {
            "manifest_uri": "s3://artifacts/datasets/p/d/manifest.json",
            "train_uri": "s3://artifacts/datasets/p/d/train.json",
            "validation_uri": "s3://artifacts/datasets/p/d/validation.json",
            "rows": {"train": 100, "validation": 10},
        },
        "trainer": {
            "version": "0123456789abcdef",
            "uri": "s3://artifacts/trainer/0123456789abcdef/",
            "gpu_image": "gpu-image",
            "cpu_image": "cpu-image",
            "entrypoint": ["bash", "/opt/ml/input/data/trainer/start.sh"],
        },
        "checkpointPrefix": "s3://artifacts/runs/p/r/checkpoints/",
        "outputPrefix": "s3://artifacts/runs/p/r/trials/",
        "initialVersion": "",
        "initialUri": "",
        "trial": trial,
        "attempt": attempt,
        "earlier": [],
        "attempts": [
            vars_of(attempt) for attempt in plan_attempts(backend, has_batch=True, function_memory_mb=3008)
        ],
        "resources": {"instance_count": instances, "volume_gb": 50, "max_runtime_s": 3600},
        "states": {"input": trial, "context": {"State": {"RetryCount": 5}, "Execution": execution}} | states,
    }


def vars_of(attempt: Any) -> dict[str, Any]:
    return {name: getattr(attempt, name) for name in attempt.__struct_fields__}


def computed(value: Any, values: dict[str, Any], **substitutions: str) -> Any:
    """What a member of a state comes to: substitutions made, every expression in it evaluated."""
    if isinstance(value, dict):
        return {name: computed(item, values, **substitutions) for name, item in value.items()}
    if isinstance(value, list):
        return [computed(item, values, **substitutions) for item in value]
    if not isinstance(value, str):
        return value
    text = value.strip()
    for name, replacement in (SUBSTITUTIONS | substitutions).items():
        text = text.replace(f"${{{name}}}", replacement)
    return evaluate(text[2:-2], values) if text.startswith("{%") else text


def within_trial(states: dict[str, Any], values: dict[str, Any], **substitutions: str) -> dict[str, Any]:
    """The bindings with the name that the first state of a trial assigns."""
    return values | {
        "jobName": computed(states["FirstAttempt"]["Assign"]["jobName"], values, **substitutions)
    }


def requested(states: dict[str, Any], values: dict[str, Any], **substitutions: str) -> dict[str, Any]:
    """The body of CreateTrainingJob, as Step Functions would send it."""
    values = within_trial(states, values, **substitutions)
    request = computed(states["RequestTraining"]["Output"], values, **substitutions)
    within = values | {"states": values["states"] | {"input": request}}
    body: dict[str, Any] = computed(states["Train"]["Arguments"], within, **substitutions)
    return body


def faults(request: dict[str, Any]) -> Iterator[str]:
    """What the API and the local cloud have against a request."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    report = ParamValidator().validate(request, model.operation_model("CreateTrainingJob").input_shape)
    yield from report.generate_report().splitlines()
    if told := refusal(request):
        yield told


@pytest.mark.parametrize(
    ("attempt", "redrives", "end"), [(0, None, "-499b-a0r5d0"), (9, 1000, "-499b-a9r5d1000")]
)
def test_the_longest_job_name_fits_and_tells_attempts_retries_and_redrives_apart(
    states: dict[str, Any], attempt: int, redrives: int | None, end: str
) -> None:
    values = bindings(Backend(), 0, redrives, trial_id="499b")
    values |= {"attempts": values["attempts"] * 5, "attempt": attempt}
    request = requested(states, values)
    assert SAGEMAKER_NAME.fullmatch(request["TrainingJobName"])
    assert request["TrainingJobName"] == f"{PREFIX}{LONGEST_PROJECT[:18]}-{LONGEST_RUN}{end}"
    assert list(faults(request)) == []


def test_no_recipe_has_more_attempts_than_a_digit_counts() -> None:
    types = ("ml.g5.xlarge", "ml.m5.xlarge", "ml.g6.xlarge", "ml.c4.xlarge")
    recipe = {"instance_type": "ml.c5.xlarge", "fallback_instance_types": types, "fallback": "batch"}
    assert 8 == len(plan_attempts(msgspec.convert(recipe, type=Backend), has_batch=True)) <= 10


def test_retries_and_redrives_are_bounded_by_what_the_name_has_room_for(train: dict[str, Any]) -> None:
    assert max(retry["MaxAttempts"] for retry in train["Retry"]) <= 9  # redrives: AWS allows 1,000


@pytest.mark.parametrize("project", ["a" * 17 + "-b", "a--b", "a1"])
def test_a_project_is_cut_off_so_that_the_name_stays_one(states: dict[str, Any], project: str) -> None:
    name = requested(states, bindings(Backend()) | {"project": project})["TrainingJobName"]
    assert SAGEMAKER_NAME.fullmatch(name)


def test_two_stacks_never_give_a_job_the_same_name_and_tag_it_with_their_own(states: dict[str, Any]) -> None:
    one, other = (
        requested(states, bindings(Backend()), JobPrefix=f"lehr-{digits}-", StackName=name)
        for digits, name in (("51af3dc0", "lehr"), ("0b1c2d3e", "lehr-dev"))
    )
    assert one["TrainingJobName"] != other["TrainingJobName"]
    assert [tag["Value"] for tag in (one["Tags"][0], other["Tags"][0])] == ["lehr", "lehr-dev"]
    assert {tag["Key"] for tag in one["Tags"]} == {"lehr:stack", "lehr:project", "lehr:run"}


def test_spot_is_asked_for_first_and_waits_no_longer_than_it_may(states: dict[str, Any]) -> None:
    request = requested(states, bindings(Backend(max_wait_s=7200)))
    assert request["EnableManagedSpotTraining"] is True
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}
    assert request["ResourceConfig"] == {
        "VolumeSizeInGB": 50,
        "InstanceType": "ml.g5.xlarge",
        "InstanceCount": 1,
    }
    assert list(faults(request)) == []


def test_on_demand_takes_the_first_of_an_ordered_list_and_has_no_wait(states: dict[str, Any]) -> None:
    values = bindings(Backend(fallback_instance_types=("ml.g6.xlarge", "ml.g4dn.xlarge")), attempt=1)
    request = requested(states, values)
    assert request["EnableManagedSpotTraining"] is False
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}
    assert list(faults(request)) == []
    assert request["ResourceConfig"] == {
        "VolumeSizeInGB": 50,
        "InstancePreferences": [
            {"InstanceType": name, "InstanceCount": 1}
            for name in ("ml.g5.xlarge", "ml.g6.xlarge", "ml.g4dn.xlarge")
        ],
    }


def test_without_a_key_and_subnets_a_request_names_neither(states: dict[str, Any]) -> None:
    request = requested(states, bindings(Backend()))
    assert request["OutputDataConfig"] == {"S3OutputPath": "s3://artifacts/runs/p/r/trials/"}
    assert "VolumeKmsKeyId" not in request["ResourceConfig"]
    assert "VpcConfig" not in request


@pytest.mark.parametrize(("instance", "volume_key"), [("ml.c5.xlarge", KEY), ("ml.g5.xlarge", None)])
def test_a_key_is_named_for_outputs_and_for_volumes_that_can_take_one(
    states: dict[str, Any], instance: str, volume_key: str | None
) -> None:
    request = requested(states, bindings(Backend(instance_type=instance)), KmsKeyArn=KEY)
    assert request["OutputDataConfig"]["KmsKeyId"] == KEY
    assert request["ResourceConfig"].get("VolumeKmsKeyId") == volume_key
    assert list(faults(request)) == []


def test_a_list_that_mixes_kinds_of_storage_is_asked_for_in_parts_and_every_part_is_accepted(
    states: dict[str, Any],
) -> None:
    backend = Backend(spot=False, instance_type="ml.c5.xlarge", fallback_instance_types=("ml.g5.xlarge",))
    requests = [
        requested(states, bindings(backend, attempt=number), KmsKeyArn=KEY)["ResourceConfig"]
        for number in range(len(plan_attempts(backend, has_batch=True)))
    ]
    assert [(each["InstanceType"], each.get("VolumeKmsKeyId")) for each in requests] == [
        ("ml.c5.xlarge", KEY),
        ("ml.g5.xlarge", None),
    ]


def test_the_local_cloud_refuses_a_key_for_an_instance_with_disks_as_aws_does(states: dict[str, Any]) -> None:
    request = requested(states, bindings(Backend(fallback_instance_types=("ml.g6.xlarge",)), attempt=1))
    request["ResourceConfig"]["VolumeKmsKeyId"] = KEY
    assert any("local storage" in fault for fault in faults(request))


@pytest.mark.parametrize("subnets", ["subnet-12345678", "subnet-12345678,subnet-87654321"])
def test_a_job_is_put_into_the_given_subnets(states: dict[str, Any], subnets: str) -> None:
    given = {"TrainingSubnetIds": subnets, "TrainingSecurityGroupIds": "sg-12345678"}
    request = requested(states, bindings(Backend()), **given)
    assert request["VpcConfig"] == {"Subnets": subnets.split(","), "SecurityGroupIds": ["sg-12345678"]}
    assert request["EnableNetworkIsolation"] is True
    assert list(faults(request)) == []


@pytest.mark.parametrize(("instances", "is_encrypted"), [(1, False), (2, True)])
def test_what_several_instances_tell_each_other_is_encrypted(
    states: dict[str, Any], instances: int, is_encrypted: bool
) -> None:
    request = requested(states, bindings(Backend(), instances=instances))
    assert request["EnableInterContainerTrafficEncryption"] is is_encrypted
    assert request["ResourceConfig"]["InstanceCount"] == instances
    assert list(faults(request)) == []


@pytest.mark.parametrize(("attempt", "kept"), [(0, None), (1, 900)])
def test_a_warm_pool_is_kept_after_a_job_on_demand_only(
    states: dict[str, Any], attempt: int, kept: int | None
) -> None:
    request = requested(states, bindings(Backend(keep_alive_s=900), attempt=attempt))
    assert request["ResourceConfig"].get("KeepAlivePeriodInSeconds") == kept
    assert list(faults(request)) == []


@pytest.mark.parametrize(("backend", "longest"), [(Backend(), 0), (Backend(keep_alive_s=900), 900)])
def test_packaging_hears_of_warm_pools_whose_price_is_not_known_yet(
    machine: dict[str, Any], backend: Backend, longest: int
) -> None:
    payload = machine["States"]["PackageModel"]["Arguments"]["Payload"]
    for tried in (backend, msgspec.structs.replace(backend, spot=False)):
        assert computed(payload["keep_alive_s"], bindings(tried)) == longest


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
    states: dict[str, Any], train: dict[str, Any], cause: str, seconds: int | None
) -> None:
    (catch,) = train["Catch"]
    values = within_trial(
        states, bindings(Backend(), errorOutput={"Error": "States.TaskFailed", "Cause": cause})
    )
    (earlier,) = computed(catch["Assign"]["earlier"], values)
    assert earlier["job"] == requested(states, values)["TrainingJobName"]
    assert earlier["billable_seconds"] == seconds
    assert earlier["instance_type"] == "ml.g5.xlarge"


def failed_trial(states: dict[str, Any], task: str, backend: Backend, cause: str) -> TrialResult:
    """What a trial leaves whose only attempt has failed with this cause."""
    values = within_trial(
        states, bindings(backend, errorOutput={"Error": "States.TaskFailed", "Cause": cause})
    )
    (catch,) = states[task]["Catch"]
    earlier = computed(catch["Assign"]["earlier"], values)
    output = computed(catch["Output"], values)
    failed = computed(states["TrialFailed"]["Output"], {"earlier": earlier, "states": {"input": output}})
    return msgspec.convert(failed, type=TrialResult)


def test_a_failed_trial_is_billed_for_the_instance_that_it_had(states: dict[str, Any]) -> None:
    prices = load_prices()
    cause = '{"TrainingStartTime":1,"BillableTimeInSeconds":3600,"SelectedInstanceType":"ml.g6.xlarge"}'
    (cost,) = trial_costs(failed_trial(states, "Train", Backend(), cause), "lambda-3008mb", prices)
    assert cost.instance_type == "ml.g6.xlarge"
    assert cost.usd == pytest.approx(prices.hour("ml.g6.xlarge"), abs=1e-4)
    cause = '{"JobQueue":"q","StartedAt":1000,"StoppedAt":3601000}'
    (cost,) = trial_costs(failed_trial(states, "TrainOnBatch", Backend(kind="batch"), cause), "x", prices)
    assert (cost.instance_type, cost.billable_seconds, cost.is_whole) == ("g5.xlarge", 3600, True)


def test_a_round_of_failed_trials_fits_into_the_state_and_still_says_why(states: dict[str, Any]) -> None:
    reason = 'AlgorithmError: net.py:2 in build: ValueError: "x" is \\ no layer, exit code: 1 ' + "y" * 900
    description = {
        "TrainingJobName": "lehr-p-r-0-a0r0d0",
        "ModelArtifacts": {"S3ModelArtifacts": "s3://" + "a" * 5000},
        "TrainingJobStatus": "Failed",
        "FailureReason": reason,
        "TrainingStartTime": 1,
        "BillableTimeInSeconds": 42,
    }
    for size in (1, 5000):
        description["ModelArtifacts"] = {"S3ModelArtifacts": "a" * size}
        result = failed_trial(states, "Train", Backend(), json.dumps(description))
        assert explain(result.error, result.cause) == reason
        assert training_job(result.cause) == "lehr-p-r-0-a0r0d0"
        assert len(msgspec.json.encode(result)) * ROUND_TRIALS < 200 * 1024
    batch = {
        "JobQueue": "q",
        "StatusReason": "Essential container in task exited",
        "Container": {"ExitCode": 1, "LogStreamName": "lehr/default/1", "Environment": "e" * 5000},
    }
    result = failed_trial(states, "TrainOnBatch", Backend(kind="batch"), json.dumps(batch))
    assert batch_stream(result.cause) == "lehr/default/1"
    assert explain(result.error, result.cause) == "Essential container in task exited, exit code: 1"
    assert failed_trial(states, "Train", Backend(), "words " * 2000).cause == ("words " * 2000)[:3000]


@pytest.mark.parametrize(
    ("attempts", "kept"), [([], []), ([{"job": "a"}], []), ([{"job": "a"}, {"job": "b"}], [{"job": "a"}])]
)
def test_a_failed_trial_lists_the_attempts_before_its_last(
    machine: dict[str, Any], attempts: list[dict[str, str]], kept: list[dict[str, str]]
) -> None:
    failed = machine["States"]["TrainTrials"]["ItemProcessor"]["States"]["TrialFailed"]
    assert computed(failed["Output"]["earlier"], {"earlier": attempts}) == kept
    if attempts:
        assert computed(failed["Output"]["job"], {"earlier": attempts}) == attempts[-1]["job"]


@pytest.mark.parametrize(
    ("instance_type", "image"), [("ml.g5.xlarge", "gpu-image"), ("ml.m5.large", "cpu-image")]
)
def test_a_stock_image_is_the_one_for_the_instance_and_gets_the_source_as_a_channel(
    states: dict[str, Any], instance_type: str, image: str
) -> None:
    values = bindings(Backend(instance_type=instance_type))
    request = requested(states, values)
    algorithm = request["AlgorithmSpecification"]
    assert algorithm["TrainingImage"] == image
    assert algorithm["ContainerEntrypoint"] == values["trainer"]["entrypoint"]
    assert algorithm["ContainerArguments"] == ["train"]
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in request["InputDataConfig"]
    }
    assert channels["trainer"] == values["trainer"]["uri"]
    assert set(channels) == {"code", "manifest", "train", "validation", "trainer"}


def test_the_weights_to_start_from_are_a_channel_of_the_job_on_either_backend(states: dict[str, Any]) -> None:
    uri = "s3://artifacts/models/p/cafe/weights.safetensors"
    given = {"initialUri": uri, "initialVersion": "cafe"}
    values = bindings(Backend(fallback="batch")) | given
    request = requested(states, values)
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in request["InputDataConfig"]
    }
    assert channels["initial"] == uri
    assert set(channels) == {"code", "manifest", "train", "validation", "initial", "trainer"}
    assert request["Environment"]["LEHR_INITIAL_VERSION"] == "cafe"
    assert list(faults(request)) == []
    variables = states["RequestBatch"]["Output"]["ContainerOverrides"]["Environment"]
    batch = {entry["Name"]: computed(entry["Value"], values) for entry in variables}
    assert (batch["LEHR_INITIAL_URI"], batch["LEHR_INITIAL_VERSION"]) == (uri, "cafe")
    slices = in_slices(states, Backend(kind="lambda")) | given
    payload = computed(states["TrainSlice"]["Arguments"]["Payload"], slices)
    assert (payload["initial_uri"], payload["initial_version"]) == (uri, "cafe")


def test_batch_is_asked_for_the_same_after_an_attempt_that_failed(states: dict[str, Any]) -> None:
    values = bindings(Backend(fallback="batch"), attempt=2, trial_id="7b")
    values["resources"] |= {"vcpus": 4, "memory_mb": 14_000, "gpus": 1}
    errors = values | {"states": {"errorOutput": {"Error": "E", "Cause": "CapacityError"}}}
    (catch,) = states["Train"]["Catch"]
    after = values | {"states": {"input": computed(catch["Output"], errors)}}
    request = states["RequestBatch"]["Output"]
    assert computed(request, after) == computed(request, values)
    variables = {entry["Name"]: entry["Value"] for entry in request["ContainerOverrides"]["Environment"]}
    done = {"StartedAt": 0, "StoppedAt": 1000, "JobName": "j"}
    output = computed(states["TrainOnBatch"]["Output"]["model"], after | {"states": {"result": done}})
    assert output == f"{computed(variables['LEHR_OUTPUT_URI'], after)}model.tar.gz"


def test_an_image_of_ones_own_gets_no_source(states: dict[str, Any]) -> None:
    values = bindings(Backend())
    values["trainer"] |= {"uri": "", "version": "", "entrypoint": ["python", "-m", "lehr_trainer"]}
    request = requested(states, values)
    assert {channel["ChannelName"] for channel in request["InputDataConfig"]} == {
        *("code", "manifest", "train", "validation")
    }
    assert request["AlgorithmSpecification"]["ContainerEntrypoint"] == ["python", "-m", "lehr_trainer"]
    assert list(faults(request)) == []


def in_slices(states: dict[str, Any], backend: Backend, **errors: str) -> dict[str, Any]:
    """The bindings within the loop of slices, after its first state."""
    values = within_trial(states, bindings(backend, errorOutput={"Error": "", "Cause": ""} | errors))
    assigned: dict[str, Any] = computed(states["RequestSlices"]["Assign"], values)
    return values | assigned


def test_a_slice_is_asked_for_what_its_contract_says(states: dict[str, Any]) -> None:
    values = in_slices(states, Backend(kind="lambda"))
    payload = computed(states["TrainSlice"]["Arguments"]["Payload"], values)
    request = SliceRequest.from_value(payload)
    assert request.progress == SliceProgress()
    assert request.job == f"{PREFIX}{LONGEST_PROJECT[:18]}-{LONGEST_RUN}-19-a0r0d0"
    assert request.validation_uri == values["dataset"]["validation_uri"]
    assert request.output_uri == f"s3://artifacts/runs/p/r/trials/{request.job}/output/"
    assert (
        computed(states["SlicesCompleted"]["Output"]["model"], values) == f"{request.output_uri}model.tar.gz"
    )


@pytest.mark.parametrize(
    ("error", "crashes", "status", "has_no_capacity"),
    [
        ("Sandbox.Timedout", 0, "continues", False),
        ("Runtime.ExitError", 1, "continues", False),
        ("States.Timeout", 1, "continues", False),
        ("ClientError", 0, "continues", False),
        ("Runtime.ExitError", 2, "Failed", False),
        ("Lambda.TooManyRequestsException", 0, "Failed", True),
        ("ContractError", 0, "Failed", False),
    ],
)
def test_a_slice_that_dies_is_followed_by_another_three_times_at_most(
    states: dict[str, Any], error: str, crashes: int, status: str, has_no_capacity: bool
) -> None:
    cause = '{"errorMessage": "Task timed out after 900.00 seconds", "errorType": "x"}'
    values = in_slices(states, Backend(kind="lambda"), Error=error, Cause=cause) | {"crashes": crashes}
    values["sliceStarted"] -= 4000
    (catch,) = states["TrainSlice"]["Catch"]
    assigned = computed(catch["Assign"], values)
    assert assigned["slice"]["status"] == status
    assert assigned["slice"]["reason"] == f"{error}: Task timed out after 900.00 seconds"
    assert assigned["slice"]["instance_type"] == "lambda-3008mb"
    assert assigned["crashes"] == crashes + 1
    assert assigned["hasNoCapacity"] is has_no_capacity
    assert 4 <= assigned["progress"]["seconds"] <= 7
    assert assigned["progress"]["update"] == 0


def test_seconds_of_a_slice_that_died_are_no_more_than_it_may_take(states: dict[str, Any]) -> None:
    values = in_slices(states, Backend(kind="lambda"), Error="States.Timeout", Cause="no JSON")
    values["sliceStarted"] -= 5_000_000
    (catch,) = states["TrainSlice"]["Catch"]
    assigned = computed(catch["Assign"], values)
    assert assigned["progress"]["seconds"] == 900
    assert assigned["slice"]["reason"] == "States.Timeout: no JSON"


def test_a_training_that_failed_in_slices_is_told_as_one_of_sagemaker_is_and_costs_what_it_took(
    states: dict[str, Any],
) -> None:
    values = in_slices(states, Backend(kind="lambda"))
    values |= {
        "slice": {
            "instance_type": "lambda-3008mb",
            "error": "States.TaskFailed",
            "reason": "net.py:2 in build: ValueError: no such layer",
            "log_group": "/aws/lambda/lehr-train-slice",
            "log_stream": "2026/[1]",
        },
        "progress": {"slices": 2, "update": 10, "stalled": 0, "seconds": 1200},
    }
    (earlier,) = computed(states["SlicesFailed"]["Assign"]["earlier"], values)
    output = computed(states["SlicesFailed"]["Output"], values)
    failed = computed(states["TrialFailed"]["Output"], {"earlier": [earlier], "states": {"input": output}})
    result = msgspec.convert(failed, type=TrialResult)
    assert explain(result.error, result.cause) == "net.py:2 in build: ValueError: no such layer"
    assert function_stream(result.cause) == ("/aws/lambda/lehr-train-slice", "2026/[1]")
    prices = load_prices()
    (cost,) = trial_costs(result, "ml.g5.xlarge", prices)
    assert (cost.instance_type, cost.billable_seconds, cost.is_whole) == ("lambda-3008mb", 1200, True)
    assert cost.usd == pytest.approx(1200 / 3600 * prices.hour("lambda-3008mb"), abs=1e-4)


def test_slices_take_less_of_an_executions_history_than_it_holds() -> None:
    """Ten events of a slice, and five thousand for the rest of a run."""
    assert backend_rules._SLICES * 10 <= 25_000 - 5_000


def test_a_recipe_is_held_against_the_time_that_a_run_has(machine: dict[str, Any]) -> None:
    assert machine["TimeoutSeconds"] == backend_rules.LONGEST_RUN_S

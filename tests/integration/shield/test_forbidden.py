"""What each role must not do, tried: every role against every deed that is not its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.shield.guarded_cloud import STACK, GuardedCloud

DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "403"}
KEY = {"pk": {"S": "project#forbidden"}, "sk": {"S": "champion"}}
# Only these may, each for the reason that stands beside its permission in the template.
WRITERS_OF_THE_REGISTRY = frozenset(
    {
        "StartRunFunctionRole",
        "SealDatasetFunctionRole",
        "PackageModelFunctionRole",
        "PromoteModelFunctionRole",
    }
)


@dataclass(frozen=True)
class Deed:
    name: str
    service: str
    do: Callable[[Any, dict[str, str]], Any]
    allowed: frozenset[str] = field(default_factory=frozenset)


def put(prefix: str) -> Callable[[Any, dict[str, str]], Any]:
    return lambda s3, outputs: s3.put_object(
        Bucket=outputs["ArtifactBucket"], Key=f"{prefix}/forbidden", Body=b"x"
    )


DEEDS = [
    Deed(
        "changes raw data",
        "s3",
        lambda s3, o: s3.put_object(Bucket=o["DataBucket"], Key="incoming/x", Body=b"x"),
    ),
    Deed("deletes raw data", "s3", lambda s3, o: s3.delete_object(Bucket=o["DataBucket"], Key="incoming/x")),
    Deed("writes a model package", "s3", put("models/x"), frozenset({"PackageModelFunctionRole"})),
    Deed(
        "deletes a model package",
        "s3",
        lambda s3, o: s3.delete_object(Bucket=o["ArtifactBucket"], Key="models/x"),
    ),
    Deed("writes a dataset", "s3", put("datasets/x"), frozenset({"SealDatasetFunctionRole"})),
    Deed("changes a recipe", "s3", put("projects/x")),
    Deed("lists the whole bucket", "s3", lambda s3, o: s3.list_objects_v2(Bucket=o["ArtifactBucket"])),
    Deed("opens the bucket", "s3", lambda s3, o: s3.delete_bucket_policy(Bucket=o["ArtifactBucket"])),
    Deed(
        "moves the champion",
        "dynamodb",
        lambda d, o: d.put_item(TableName=o["RegistryTable"], Item=KEY),
        WRITERS_OF_THE_REGISTRY,
    ),
    Deed("deletes a record", "dynamodb", lambda d, o: d.delete_item(TableName=o["RegistryTable"], Key=KEY)),
    Deed("deletes the registry", "dynamodb", lambda d, o: d.delete_table(TableName=o["RegistryTable"])),
    Deed(
        "starts a run",
        "stepfunctions",
        lambda f, o: f.start_execution(stateMachineArn=o["StateMachineArn"], input="{"),
        frozenset({"StartRunFunctionRole", "RetrainStateMachineRole"}),
    ),
    Deed(
        "changes the state machine",
        "stepfunctions",
        lambda f, o: f.update_state_machine(stateMachineArn=o["StateMachineArn"], definition="{}"),
    ),
    Deed(
        "changes code",
        "lambda",
        lambda f, o: f.update_function_code(FunctionName=o["StartRunFunction"], ZipFile=b"x"),
    ),
    Deed(
        "calls start_run",
        "lambda",
        lambda f, o: f.invoke(FunctionName=o["StartRunFunction"]),
        frozenset({"RetrainScheduleRole"}),
    ),
    Deed("reads the queue", "sqs", lambda q, o: q.list_queues()),
    Deed(
        "starts a job of another name",
        "sagemaker",
        lambda s, o: s.stop_training_job(TrainingJobName="other-1"),
    ),
    Deed(
        "gives itself a permission",
        "iam",
        lambda i, o: i.put_role_policy(RoleName="x", PolicyName="x", PolicyDocument="{}"),
    ),
    Deed(
        "becomes another role",
        "sts",
        lambda s, o: s.assume_role(RoleArn="arn:aws:iam::123456789012:role/x", RoleSessionName="xy"),
    ),
]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
def test_no_role_does_what_is_not_its_own(cloud: GuardedCloud, deed: Deed) -> None:
    outputs = cloud.place.outputs()
    wrong = []
    assert len(cloud.roles) >= 12
    for role in sorted(set(cloud.roles) - deed.allowed):
        try:
            deed.do(cloud.client_of(role, deed.service), outputs)
        except ClientError as error:
            if error.response["Error"]["Code"] not in DENIED:
                wrong.append(f"{role}: {error}")
        else:
            wrong.append(f"{role}: done")
    assert wrong == []


def test_who_is_excepted_really_may(cloud: GuardedCloud) -> None:
    """The matrix denies for the right reason: the same deed is done by the role that it belongs to."""
    outputs = cloud.place.outputs()
    put("models/x")(cloud.client_of("PackageModelFunctionRole", "s3"), outputs)
    put("datasets/x")(cloud.client_of("SealDatasetFunctionRole", "s3"), outputs)


@pytest.mark.parametrize(
    "change",
    [
        {"RoleArn": "arn:aws:iam::123456789012:role/admin"},
        {"TrainingJobName": "other-1"},
        {"TrainingJobName": "lehr-99999999-forbidden"},
        {"EnableNetworkIsolation": False},
        {"StoppingCondition": {"MaxRuntimeInSeconds": 432_001}},
    ],
    ids=["another role", "another name", "the name of another stack", "an open network", "no end in sight"],
)
def test_the_state_machine_starts_training_jobs_of_its_name_closed_and_under_the_training_role_only(
    cloud: GuardedCloud, change: dict[str, Any]
) -> None:
    client = cloud.client_of("RetrainStateMachineRole", "sagemaker")
    with pytest.raises(ClientError) as refused:
        client.create_training_job(**own_job(cloud, "forbidden") | change)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"


def test_the_job_that_was_changed_above_is_allowed_as_it_is(cloud: GuardedCloud) -> None:
    client = cloud.client_of("RetrainStateMachineRole", "sagemaker")
    job = own_job(cloud, "allowed")
    assert client.create_training_job(**job)["TrainingJobArn"].endswith(job["TrainingJobName"])


def own_job(cloud: GuardedCloud, name: str) -> dict[str, Any]:
    """A training job as the state machine of this stack may ask for it."""
    account = cloud.place.info()["account_id"]
    (stack,) = cloud.place.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    prefix = f"lehr-{stack['StackId'].rpartition('/')[2].partition('-')[0]}-"
    return {
        "TrainingJobName": f"{prefix}{name}",
        "RoleArn": f"arn:aws:iam::{account}:role/{cloud.roles['TrainingRole']}",
        "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "EnableNetworkIsolation": True,
    }

"""What each role must not do, tried: every role against every deed that is not its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.shield.guarded_cloud import STACK, GuardedCloud

DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "403"}
CHAMPION = {"pk": {"S": "champion#forbidden"}, "sk": {"S": "alias"}}
APPROVAL = {"pk": {"S": "approval#forbidden"}, "sk": {"S": "forbidden#1"}}
RUN = {"pk": {"S": "project#forbidden"}, "sk": {"S": "run#forbidden"}}


@dataclass(frozen=True)
class Deed:
    name: str
    service: str
    do: Callable[[Any, dict[str, str]], Any]
    allowed: frozenset[str] = field(default_factory=frozenset)


def put(key: str, **condition: str) -> Callable[[Any, dict[str, str]], Any]:
    return lambda s3, outputs: s3.put_object(
        Bucket=outputs["ArtifactBucket"], Key=key, Body=b"x", **condition
    )


def copied(key: str) -> Callable[[Any, dict[str, str]], Any]:
    return lambda s3, outputs: s3.copy_object(
        Bucket=outputs["ArtifactBucket"], Key=key, CopySource=f"{outputs['ArtifactBucket']}/{key}"
    )


def changed(key: dict[str, Any]) -> Callable[[Any, dict[str, str]], Any]:
    return lambda dynamodb, outputs: dynamodb.update_item(
        TableName=outputs["RegistryTable"],
        Key=key,
        UpdateExpression="SET #reason = :reason",
        ExpressionAttributeNames={"#reason": "reason"},
        ExpressionAttributeValues={":reason": {"S": "tried"}},
    )


def listed(partition: str) -> Callable[[Any, dict[str, str]], Any]:
    return lambda dynamodb, outputs: dynamodb.query(
        TableName=outputs["RegistryTable"],
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": partition}},
    )


def roles(*functions: str) -> frozenset[str]:
    """The roles of functions that may, each for the reason that stands beside its permission in the template."""
    return frozenset(f"{name}FunctionRole" for name in functions)


DEEDS = [
    Deed(
        "changes raw data",
        "s3",
        lambda s3, o: s3.put_object(Bucket=o["DataBucket"], Key="incoming/x", Body=b"x"),
    ),
    Deed("deletes raw data", "s3", lambda s3, o: s3.delete_object(Bucket=o["DataBucket"], Key="incoming/x")),
    Deed("publishes a model", "s3", put("models/x/y", IfNoneMatch="*"), roles("PackageModel")),
    Deed("overwrites a model", "s3", put("models/x/y")),
    Deed("copies onto a model", "s3", copied("models/x/y")),
    Deed(
        "uploads a model in parts",
        "s3",
        lambda s3, o: s3.create_multipart_upload(Bucket=o["ArtifactBucket"], Key="models/x/y"),
    ),
    Deed(
        "deletes a model package",
        "s3",
        lambda s3, o: s3.delete_object(Bucket=o["ArtifactBucket"], Key="models/x"),
    ),
    Deed("writes a dataset", "s3", put("datasets/x/shards/z"), roles("SealDataset")),
    Deed("overwrites a manifest", "s3", put("datasets/x/y/manifest.json")),
    Deed("changes a recipe", "s3", put("projects/x/y")),
    Deed("lists the whole bucket", "s3", lambda s3, o: s3.list_objects_v2(Bucket=o["ArtifactBucket"])),
    Deed("opens the bucket", "s3", lambda s3, o: s3.delete_bucket_policy(Bucket=o["ArtifactBucket"])),
    Deed(
        "moves the champion",
        "dynamodb",
        lambda d, o: d.put_item(TableName=o["RegistryTable"], Item=CHAMPION),
        roles("PromoteModel", "RollbackModel"),
    ),
    Deed(
        "moves the champion in a transaction",
        "dynamodb",
        lambda d, o: d.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": o["RegistryTable"], "Item": RUN}},
                {"Put": {"TableName": o["RegistryTable"], "Item": CHAMPION}},
            ]
        ),
    ),
    Deed(
        "moves the champion in a batch",
        "dynamodb",
        lambda d, o: d.batch_write_item(
            RequestItems={o["RegistryTable"]: [{"PutRequest": {"Item": item}} for item in (RUN, CHAMPION)]}
        ),
    ),
    Deed("changes the champion", "dynamodb", changed(CHAMPION)),
    Deed(
        "signs a model",
        "kms",
        lambda kms, o: kms.sign(KeyId=o["SigningKeyArn"], Message=b"x", SigningAlgorithm="ECDSA_SHA_256"),
        roles("PackageModel"),
    ),
    Deed(
        "lets somebody else sign",
        "kms",
        lambda kms, o: kms.create_grant(
            KeyId=o["SigningKeyArn"],
            GranteePrincipal="arn:aws:iam::123456789012:role/other",
            Operations=["Sign"],
        ),
    ),
    Deed(
        "reads the champion",
        "dynamodb",
        lambda d, o: d.get_item(TableName=o["RegistryTable"], Key=CHAMPION),
        roles(
            "PackageModel",
            "PromoteModel",
            "RollbackModel",
            "WatchCanary",
            "WatchDrift",
            "Predict",
            "SealDataset",
            "StartBatch",
            "StartRun",
            "MirrorRegistry",
        ),
    ),
    Deed(
        "adds a record",
        "dynamodb",
        lambda d, o: d.put_item(TableName=o["RegistryTable"], Item=RUN),
        roles("StartRun", "SealDataset", "PackageModel"),
    ),
    Deed(
        "changes a run",
        "dynamodb",
        changed(RUN),
        roles("StartRun", "PackageModel", "RecordFailure", "StopOrphans") | {"RetrainStateMachineRole"},
    ),
    Deed(
        "reads a run",
        "dynamodb",
        lambda d, o: d.get_item(TableName=o["RegistryTable"], Key=RUN),
        roles("StartRun", "WriteReport"),
    ),
    Deed(
        "lists the runs of a project",
        "dynamodb",
        listed("project#forbidden"),
        roles("StartRun", "MirrorRegistry"),
    ),
    Deed(
        "lists champions", "dynamodb", listed("champion#forbidden"), roles("RollbackModel", "MirrorRegistry")
    ),
    Deed("reads the whole registry", "dynamodb", lambda d, o: d.scan(TableName=o["RegistryTable"])),
    Deed("deletes a record", "dynamodb", lambda d, o: d.delete_item(TableName=o["RegistryTable"], Key=RUN)),
    Deed("deletes the registry", "dynamodb", lambda d, o: d.delete_table(TableName=o["RegistryTable"])),
    Deed(
        "starts a run",
        "stepfunctions",
        lambda f, o: f.start_execution(stateMachineArn=o["StateMachineArn"], input="{"),
        roles("StartRun") | {"RetrainStateMachineRole"},
    ),
    Deed(
        "approves a run in its place",
        "stepfunctions",
        lambda f, o: f.send_task_success(taskToken="of-nobody", output="{}"),
    ),
    Deed(
        "writes an approval",
        "dynamodb",
        lambda d, o: d.put_item(TableName=o["RegistryTable"], Item=APPROVAL),
        roles("AwaitApproval", "AnswerApproval"),
    ),
    Deed("reads what is to be approved", "dynamodb", listed("approval#forbidden"), roles("AnswerApproval")),
    Deed(
        "starts a batch",
        "stepfunctions",
        lambda f, o: f.start_execution(stateMachineArn=o["BatchStateMachineArn"], input="{"),
        roles("StartBatch") | {"PredictBatchStateMachineRole"},
    ),
    Deed(
        "writes predictions", "s3", put("batches/x/y"), roles("StartBatch", "PredictBatchUnit", "SealBatch")
    ),
    Deed(
        "uploads rows to predict",
        "s3",
        lambda s3, o: s3.put_object(Bucket=o["DataBucket"], Key="batches/x/upload-y/input", Body=b"x"),
        roles("StartBatch"),
    ),
    Deed(
        "changes the rows of somebody's batch",
        "s3",
        lambda s3, o: s3.put_object(Bucket=o["DataBucket"], Key="batches/x/rows.csv", Body=b"x"),
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
        "adds a model to somebody else's group",
        "sagemaker",
        lambda s, o: s.create_model_package(ModelPackageGroupName="other-mnist"),
    ),
    Deed(
        "approves somebody else's model",
        "sagemaker",
        lambda s, o: s.update_model_package(
            ModelPackageArn="arn:aws:sagemaker:us-east-1:123456789012:model-package/other-mnist/1",
            ModelApprovalStatus="Approved",
        ),
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


# The role of the schedule is made for a stack that has one.
EXCEPTED = [(deed, role) for deed in DEEDS for role in sorted(deed.allowed) if role != "RetrainScheduleRole"]


@pytest.mark.parametrize(("deed", "role"), EXCEPTED, ids=[f"{deed.name}: {role}" for deed, role in EXCEPTED])
def test_who_is_excepted_really_may(cloud: GuardedCloud, deed: Deed, role: str) -> None:
    """The matrix denies for the right reason: the same deed is done by the role that it belongs to."""
    code = ""
    try:
        deed.do(cloud.client_of(role, deed.service), cloud.place.outputs())
    except ClientError as error:
        # The deed may be impossible, as an input that is no JSON, but not forbidden.
        code = error.response["Error"]["Code"]
    assert code not in DENIED


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

"""Whether the stack is there and whole: outputs, backends, buckets, subscribers, what its roles may do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from lehr.attempts import backends_of
from lehr.contracts.recipe_tables import Backend
from lehr.function_types import DEFAULT_MEMORY_MB
from lehr_cli.findings import Finding, is_denied, not_here
from lehr_cli.target import Target

OUTPUTS = (
    "DataBucket",
    "ArtifactBucket",
    "RegistryTable",
    "StateMachineArn",
    "StartRunFunction",
    "EndpointUrl",
)
_WORKING = {
    "CREATE_COMPLETE",
    "IMPORT_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    "UPDATE_ROLLBACK_COMPLETE",
}
# Where a stack is looked for that is not in the region of this call.
ELSEWHERE = ("us-east-1", "us-west-2", "us-east-2", "eu-west-1", "eu-central-1", "ap-northeast-1")
_DEPLOY = "sam build && sam deploy"


def find_stack(target: Target, name: str) -> Mapping[str, Any] | None:
    """The stack as CloudFormation describes it."""
    try:
        described = target.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as fault:
        if fault.response["Error"]["Code"] != "ValidationError":
            raise
        return None
    return described[0] if described else None


def outputs_of(stack: Mapping[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def parameters_of(stack: Mapping[str, Any]) -> dict[str, str]:
    return {item["ParameterKey"]: item.get("ParameterValue", "") for item in stack.get("Parameters", [])}


def check_stack(target: Target, name: str, stack: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Whether there is a stack, in a state in which it can work."""
    if stack is None:
        other = None if target.endpoint_url else _region_of(target, name)
        command = "lehr local up" if target.endpoint_url else _DEPLOY
        yield Finding(
            check="stack",
            status="fail",
            saw=f"there is no stack {name!r} in {target.region}",
            meaning=f"there is one in {other}" if other else "nothing is deployed yet",
            command=f"lehr doctor --region {other}" if other else command,
        )
        return
    status = stack["StackStatus"]
    missing = [key for key in OUTPUTS if key not in outputs_of(stack)]
    if missing or status not in _WORKING:
        yield Finding(
            check="stack",
            status="fail",
            saw=f"{status}, without {', '.join(missing)}" if missing else status,
            meaning="it is not a whole Lehr stack",
            command=f"aws cloudformation describe-stack-events --stack-name {name} --region {target.region}",
        )
        return
    yield Finding(check="stack", status="ok", saw=f"{name}, {status}")


def check_backends(stack: Mapping[str, Any], backend: Backend) -> Iterator[Finding]:
    """Whether the stack was deployed with what the recipe's backends need; SageMaker needs nothing."""
    parameters = parameters_of(stack)
    if "lambda" in backends_of(backend):
        memory_mb = int(parameters.get("TrainerFunctionMemoryMb") or DEFAULT_MEMORY_MB)
        check, wanted = "training function", backend.memory_mb or 0
        if not parameters.get("TrainerFunctionImageUri"):
            yield Finding(
                check=check,
                status="fail",
                saw="the stack has none",
                meaning="no run of this recipe starts before it is deployed with TrainerFunctionImageUri",
                command="lehr image build --cpu",
            )
        elif wanted > memory_mb and "batch" not in backends_of(backend):
            yield Finding(
                check=check,
                status="fail",
                saw=f"{memory_mb} MB, {wanted} needed",
                meaning="no run of this recipe starts: deploy with more, or ask for less",
                command=f"sam deploy --parameter-overrides TrainerFunctionMemoryMb={wanted}",
            )
        else:
            yield Finding(check=check, status="ok", saw=f"{memory_mb} MB")
    if "batch" in backends_of(backend):
        has_batch = bool(parameters.get("BatchSubnetIds"))
        yield Finding(
            check="AWS Batch",
            status="ok" if has_batch else "fail",
            saw="queues are deployed" if has_batch else "the stack has no queues",
            meaning=""
            if has_batch
            else "no run of this recipe starts before it is deployed with BatchSubnetIds and BatchSecurityGroupIds",
        )


def check_buckets(target: Target, stack: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether these credentials reach the two buckets."""
    outputs, s3 = outputs_of(stack), target.client("s3")
    for key in ("DataBucket", "ArtifactBucket"):
        if key not in outputs:
            continue
        try:
            s3.head_bucket(Bucket=outputs[key])
        except ClientError as fault:
            code = fault.response["Error"]["Code"]
            yield Finding(
                check=f"S3 {key}",
                status="fail",
                saw=f"{outputs[key]}: {code}",
                meaning="these credentials may not use it" if is_denied(code) else "it is not there",
                command=f"aws s3api head-bucket --bucket {outputs[key]} --region {target.region}",
            )
        else:
            yield Finding(check=f"S3 {key}", status="ok", saw=outputs[key])


def check_subscribers(target: Target, stack: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether whoever should hear of the end of a run has said yes to it."""
    topic = outputs_of(stack).get("NotificationTopicArn")
    if not topic:
        return
    found = target.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    waiting = [item["Endpoint"] for item in found if item["SubscriptionArn"] == "PendingConfirmation"]
    if waiting:
        yield Finding(
            check="notifications",
            status="warn",
            saw=f"{', '.join(waiting)} has not confirmed",
            meaning="nobody hears of a failed run until the link in AWS's mail is followed",
            command=f"aws sns subscribe --topic-arn {topic} --protocol email "
            f"--notification-endpoint {waiting[0]} --region {target.region}",
        )
        return
    yield Finding(check="notifications", status="ok", saw=f"{len(found)} subscriber(s)")


def check_roles(target: Target, stack: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the roles of training and state machine may do what they are for: an organisation may forbid it."""
    if target.endpoint_url:
        yield not_here("roles")
        return
    outputs = outputs_of(stack)
    pages = target.client("cloudformation").get_paginator("list_stack_resources")
    roles = {
        item["LogicalResourceId"]: item["PhysicalResourceId"]
        for page in pages.paginate(StackName=stack["StackName"])
        for item in page["StackResourceSummaries"]
        if item["ResourceType"] == "AWS::IAM::Role"
    }
    partition, account = stack["StackId"].split(":")[1], stack["StackId"].split(":")[4]
    artifacts = f"arn:{partition}:s3:::{outputs.get('ArtifactBucket', '')}"
    # The first digits of the stack's id, as in the template: arn:…:stack/<name>/<digits>-…
    own = stack["StackId"].rpartition("/")[2].partition("-")[0]
    jobs = f"arn:{partition}:sagemaker:{target.region}:{account}:training-job/lehr-{own}-doctor"
    wanted = {
        "TrainingRole": (["s3:GetObject", "s3:PutObject"], f"{artifacts}/runs/doctor"),
        "RetrainStateMachineRole": (["sagemaker:CreateTrainingJob", "sagemaker:StopTrainingJob"], jobs),
    }
    for logical_id, (actions, resource) in wanted.items():
        if logical_id not in roles:
            continue
        answer = target.client("iam").simulate_principal_policy(
            PolicySourceArn=f"arn:{partition}:iam::{account}:role/{roles[logical_id]}",
            ActionNames=actions,
            ResourceArns=[resource],
            ContextEntries=_job_context(stack),
        )["EvaluationResults"]
        denied = [item["EvalActionName"] for item in answer if item["EvalDecision"] != "allowed"]
        if denied:
            yield Finding(
                check=f"role {logical_id}",
                status="fail",
                saw=f"{', '.join(denied)} would be denied",
                meaning="a policy of the organisation or a permissions boundary stands against the template",
                command=f"aws iam get-role --role-name {roles[logical_id]}",
            )
        else:
            yield Finding(check=f"role {logical_id}", status="ok", saw=f"may {', '.join(actions)}")


def _job_context(stack: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the state machine's own training jobs show to IAM, whose conditions a simulation knows nothing of else."""
    parameters = parameters_of(stack)
    key = parameters.get("KmsKeyArn", "")
    subnets, groups = (
        [name for name in parameters.get(parameter, "").split(",") if name]
        for parameter in ("TrainingSubnetIds", "TrainingSecurityGroupIds")
    )
    entries: list[tuple[str, str, list[str]]] = [
        ("sagemaker:NetworkIsolation", "boolean", ["true"]),
        ("sagemaker:MaxRuntimeInSeconds", "numeric", ["3600"]),
        ("sagemaker:OutputKmsKey", "string", [key] if key else []),
        ("sagemaker:VpcSubnets", "stringList", subnets),
        ("sagemaker:VpcSecurityGroupIds", "stringList", groups),
    ]
    return [
        {"ContextKeyName": name, "ContextKeyType": kind, "ContextKeyValues": values}
        for name, kind, values in entries
        if values
    ]


def _region_of(target: Target, name: str) -> str | None:
    for region in ELSEWHERE:
        if region == target.region:
            continue
        try:
            target.session.client("cloudformation", region_name=region).describe_stacks(StackName=name)
        except ClientError:
            continue
        return region
    return None

"""What a request needs, read from requests as botocore sends them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest

from lehr_local.shield.requests import ApiCall, HttpCall, classify, signer_of

ACCOUNT = "123456789012"
REGION = "eu-central-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/training"
Call = Callable[[Any], Any]


class Caught(Exception):
    """Raised instead of sending."""


@cache
def client_of(service: str) -> Any:
    return boto3.Session("KEY", "secret", region_name=REGION).client(
        service, endpoint_url="http://localhost:1"
    )


def sent(service: str, call: Call) -> HttpCall:
    """The request that a call of a client sends, caught before it leaves."""
    client = client_of(service)
    caught: list[AWSPreparedRequest] = []

    def catch(request: AWSPreparedRequest, **_: Any) -> None:
        caught.append(request)
        raise Caught

    client.meta.events.register_last("before-send.*.*", catch)
    try:
        with pytest.raises(Caught):
            call(client)
    finally:
        client.meta.events.unregister("before-send.*.*", catch)
    url = urlsplit(caught[0].url)
    body = caught[0].body or b""
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value
        for name, value in caught[0].headers.items()
    }
    return HttpCall(
        caught[0].method,
        unquote(url.path),
        url.query,
        headers | {"host": url.netloc},
        body.read() if hasattr(body, "read") else body if isinstance(body, bytes) else body.encode(),
    )


def understood(service: str, call: Call) -> ApiCall:
    return classify(sent(service, call), ACCOUNT, {"registry": "pk"}.get)


def demands(service: str, call: Call) -> list[tuple[str, str]]:
    return [(demand.action, demand.resource) for demand in understood(service, call).demands]


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


OBJECT = "arn:aws:s3:::bucket/a/b c.json"
PLACE = {"Bucket": "bucket", "Key": "a/b c.json"}
ITEM = {"pk": {"S": "project#x"}, "sk": {"S": "run#1"}}
TABLE = arn("dynamodb", "table/registry")
MACHINE = arn("states", "stateMachine:retrain")
EXECUTION = arn("states", "execution:retrain:1")

CASES: list[tuple[str, Call, list[tuple[str, str]]]] = [
    ("s3", lambda c: c.get_object(**PLACE), [("s3:GetObject", OBJECT)]),
    ("s3", lambda c: c.get_object(**PLACE, VersionId="1"), [("s3:GetObjectVersion", OBJECT)]),
    ("s3", lambda c: c.head_object(**PLACE), [("s3:GetObject", OBJECT)]),
    ("s3", lambda c: c.put_object(**PLACE, Body=b"x"), [("s3:PutObject", OBJECT)]),
    (
        "s3",
        lambda c: c.put_object(**PLACE, Body=b"x", Tagging="a=b"),
        [("s3:PutObject", OBJECT), ("s3:PutObjectTagging", OBJECT)],
    ),
    ("s3", lambda c: c.delete_object(**PLACE), [("s3:DeleteObject", OBJECT)]),
    ("s3", lambda c: c.get_object_tagging(**PLACE), [("s3:GetObjectTagging", OBJECT)]),
    ("s3", lambda c: c.create_multipart_upload(**PLACE), [("s3:PutObject", OBJECT)]),
    (
        "s3",
        lambda c: c.upload_part(**PLACE, UploadId="1", PartNumber=1, Body=b"x"),
        [("s3:PutObject", OBJECT)],
    ),
    ("s3", lambda c: c.complete_multipart_upload(**PLACE, UploadId="1"), [("s3:PutObject", OBJECT)]),
    ("s3", lambda c: c.abort_multipart_upload(**PLACE, UploadId="1"), [("s3:AbortMultipartUpload", OBJECT)]),
    ("s3", lambda c: c.list_parts(**PLACE, UploadId="1"), [("s3:ListMultipartUploadParts", OBJECT)]),
    (
        "s3",
        lambda c: c.copy_object(**PLACE, CopySource={"Bucket": "other", "Key": "k ö"}),
        [("s3:PutObject", OBJECT), ("s3:GetObject", "arn:aws:s3:::other/k ö")],
    ),
    (
        "s3",
        lambda c: c.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "1"}, {"Key": "2"}]}),
        [("s3:DeleteObject", "arn:aws:s3:::bucket/1"), ("s3:DeleteObject", "arn:aws:s3:::bucket/2")],
    ),
    ("s3", lambda c: c.list_objects_v2(Bucket="bucket"), [("s3:ListBucket", "arn:aws:s3:::bucket")]),
    ("s3", lambda c: c.head_bucket(Bucket="bucket"), [("s3:ListBucket", "arn:aws:s3:::bucket")]),
    (
        "s3",
        lambda c: c.list_object_versions(Bucket="bucket"),
        [("s3:ListBucketVersions", "arn:aws:s3:::bucket")],
    ),
    ("s3", lambda c: c.list_buckets(), [("s3:ListAllMyBuckets", "*")]),
    (
        "s3",
        lambda c: c.put_bucket_policy(Bucket="bucket", Policy="{}"),
        [("s3:PutBucketPolicy", "arn:aws:s3:::bucket")],
    ),
    ("dynamodb", lambda c: c.get_item(TableName="registry", Key=ITEM), [("dynamodb:GetItem", TABLE)]),
    (
        "dynamodb",
        lambda c: c.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": "registry", "Item": ITEM}},
                {"ConditionCheck": {"TableName": "other", "Key": ITEM, "ConditionExpression": "a"}},
            ]
        ),
        [("dynamodb:PutItem", TABLE), ("dynamodb:ConditionCheckItem", arn("dynamodb", "table/other"))],
    ),
    (
        "dynamodb",
        lambda c: c.query(TableName="registry", IndexName="by-name"),
        [("dynamodb:Query", f"{TABLE}/index/by-name")],
    ),
    (
        "stepfunctions",
        lambda c: c.start_execution(stateMachineArn=MACHINE),
        [("states:StartExecution", MACHINE)],
    ),
    (
        "stepfunctions",
        lambda c: c.get_execution_history(executionArn=EXECUTION),
        [("states:GetExecutionHistory", EXECUTION)],
    ),
    (
        "stepfunctions",
        lambda c: c.create_state_machine(name="m", definition="{}", roleArn=ROLE),
        [("states:CreateStateMachine", arn("states", "stateMachine:m")), ("iam:PassRole", ROLE)],
    ),
    (
        "lambda",
        lambda c: c.invoke(FunctionName="predict", Payload=b"{}"),
        [("lambda:InvokeFunction", arn("lambda", "function:predict"))],
    ),
    (
        "lambda",
        lambda c: c.invoke(FunctionName=arn("lambda", "function:predict")),
        [("lambda:InvokeFunction", arn("lambda", "function:predict"))],
    ),
    (
        "lambda",
        lambda c: c.update_function_configuration(FunctionName="predict", Role=ROLE),
        [("lambda:UpdateFunctionConfiguration", arn("lambda", "function:predict")), ("iam:PassRole", ROLE)],
    ),
    (
        "sqs",
        lambda c: c.send_message(QueueUrl=f"http://localhost:1/{ACCOUNT}/q", MessageBody="x"),
        [("sqs:SendMessage", arn("sqs", "q"))],
    ),
    ("sns", lambda c: c.publish(TopicArn=arn("sns", "t"), Message="x"), [("sns:Publish", arn("sns", "t"))]),
    ("events", lambda c: c.put_rule(Name="r"), [("events:PutRule", arn("events", "rule/r"))]),
    (
        "events",
        lambda c: c.put_events(Entries=[{"Source": "lehr"}]),
        [("events:PutEvents", arn("events", "event-bus/default"))],
    ),
    (
        "logs",
        lambda c: c.get_log_events(logGroupName="g", logStreamName="s"),
        [("logs:GetLogEvents", arn("logs", "log-group:g:log-stream:s"))],
    ),
    (
        "logs",
        lambda c: c.describe_log_streams(logGroupName="g"),
        [("logs:DescribeLogStreams", arn("logs", "log-group:g:log-stream:"))],
    ),
    (
        "sagemaker",
        lambda c: c.stop_training_job(TrainingJobName="lehr-1"),
        [("sagemaker:StopTrainingJob", arn("sagemaker", "training-job/lehr-1"))],
    ),
    ("sagemaker", lambda c: c.list_training_jobs(), [("sagemaker:ListTrainingJobs", "*")]),
    (
        "sagemaker",
        lambda c: c.create_model_package_group(ModelPackageGroupName="lehr-1-mnist"),
        [("sagemaker:CreateModelPackageGroup", arn("sagemaker", "model-package-group/lehr-1-mnist"))],
    ),
    (
        "sagemaker",
        lambda c: c.list_model_packages(ModelPackageGroupName="lehr-1-mnist"),
        [("sagemaker:ListModelPackages", "*")],
    ),
    (
        "sagemaker",
        lambda c: c.create_model_package(ModelPackageGroupName="lehr-1-mnist"),
        [
            ("sagemaker:CreateModelPackage", arn("sagemaker", "model-package-group/lehr-1-mnist")),
            ("sagemaker:CreateModelPackage", arn("sagemaker", "model-package/lehr-1-mnist/*")),
        ],
    ),
    (
        "sagemaker",
        lambda c: c.update_model_package(ModelPackageArn=arn("sagemaker", "model-package/lehr-1-mnist/7")),
        [("sagemaker:UpdateModelPackage", arn("sagemaker", "model-package/lehr-1-mnist/7"))],
    ),
    (
        "sagemaker",
        lambda c: c.describe_model_package(ModelPackageName=arn("sagemaker", "model-package/lehr-1-mnist/7")),
        [("sagemaker:DescribeModelPackage", arn("sagemaker", "model-package/lehr-1-mnist/7"))],
    ),
    (
        "batch",
        lambda c: c.submit_job(jobName="j", jobQueue="q", jobDefinition="d"),
        [
            ("batch:SubmitJob", arn("batch", "job-definition/d")),
            ("batch:SubmitJob", arn("batch", "job-queue/q")),
        ],
    ),
    (
        "batch",
        lambda c: c.terminate_job(jobId="7", reason="r"),
        [("batch:TerminateJob", arn("batch", "job/7"))],
    ),
    ("iam", lambda c: c.delete_role(RoleName="training"), [("iam:DeleteRole", ROLE)]),
    (
        "cloudwatch",
        lambda c: c.put_metric_data(Namespace="n", MetricData=[{"MetricName": "m"}]),
        [("cloudwatch:PutMetricData", "*")],
    ),
    ("sts", lambda c: c.get_caller_identity(), []),
]


@pytest.mark.parametrize(("service", "call", "needed"), CASES)
def test_a_call_needs_what_aws_asks_for(service: str, call: Call, needed: list[tuple[str, str]]) -> None:
    assert demands(service, call) == needed


TRAINING_JOB: dict[str, Any] = {
    "TrainingJobName": "lehr-1",
    "RoleArn": ROLE,
    "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    "EnableNetworkIsolation": True,
}
JOB = arn("sagemaker", "training-job/lehr-1")


def test_a_training_job_needs_the_role_that_it_runs_under() -> None:
    job = understood("sagemaker", lambda c: c.create_training_job(**TRAINING_JOB))
    create, passing = job.demands
    assert (create.action, create.resource) == ("sagemaker:CreateTrainingJob", JOB)
    assert create.context["sagemaker:NetworkIsolation"] == "true"
    assert create.context["sagemaker:InstanceTypes"] == ("ml.g5.xlarge",)
    assert create.context["sagemaker:MaxRuntimeInSeconds"] == "60"
    assert (passing.action, passing.resource) == ("iam:PassRole", ROLE)
    assert passing.context == {"iam:PassedToService": "sagemaker.amazonaws.com"}


def test_conditions_can_ask_for_key_subnets_and_warm_pool_of_a_training_job_if_it_names_them() -> None:
    plain = understood("sagemaker", lambda c: c.create_training_job(**TRAINING_JOB)).demands[0].context
    assert not {name for name in plain if "Kms" in name or "Vpc" in name or "KeepAlive" in name}
    closed = {
        **TRAINING_JOB,
        "OutputDataConfig": {"S3OutputPath": "s3://b/o", "KmsKeyId": "key-1"},
        "ResourceConfig": {
            "InstancePreferences": [{"InstanceType": "ml.c5.xlarge"}, {"InstanceType": "ml.m5.xlarge"}],
            "VolumeSizeInGB": 1,
            "VolumeKmsKeyId": "key-2",
            "KeepAlivePeriodInSeconds": 60,
        },
        "VpcConfig": {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
    }
    context = understood("sagemaker", lambda c: c.create_training_job(**closed)).demands[0].context
    assert {name: context[name] for name in context.keys() - plain.keys()} == {
        "sagemaker:OutputKmsKey": "key-1",
        "sagemaker:VolumeKmsKey": "key-2",
        "sagemaker:KeepAlivePeriod": "60",
        "sagemaker:VpcSubnets": ("subnet-1", "subnet-2"),
        "sagemaker:VpcSecurityGroupIds": ("sg-1",),
    }
    assert context["sagemaker:InstanceTypes"] == ("ml.c5.xlarge", "ml.m5.xlarge")


def test_tags_of_a_training_job_need_a_permission_of_their_own() -> None:
    tagged = {**TRAINING_JOB, "Tags": [{"Key": "lehr:run", "Value": "1"}]}
    call = understood("sagemaker", lambda c: c.create_training_job(**tagged))
    assert [demand.action for demand in call.demands] == [
        *("sagemaker:CreateTrainingJob", "sagemaker:AddTags", "iam:PassRole")
    ]
    assert call.demands[1].context == {"aws:RequestTag/lehr:run": "1", "aws:TagKeys": ("lehr:run",)}


def test_a_job_that_step_functions_waits_for_needs_the_rule_that_tells_of_its_end() -> None:
    tags = [{"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"}]
    needed = demands("sagemaker", lambda c: c.create_training_job(**TRAINING_JOB, Tags=tags))
    rule = arn("events", "rule/StepFunctionsGetEventsForSageMakerTrainingJobsRule")
    assert [pair for pair in needed if pair[0].startswith("events:")] == [
        *(("events:PutTargets", rule), ("events:PutRule", rule), ("events:DescribeRule", rule))
    ]


def test_conditions_can_ask_for_prefix_partition_key_and_source() -> None:
    listing = understood("s3", lambda c: c.list_objects_v2(Bucket="bucket", Prefix="runs/", Delimiter="/"))
    assert listing.demands[0].context == {"s3:prefix": "runs/", "s3:delimiter": "/"}
    item = understood("dynamodb", lambda c: c.put_item(TableName="registry", Item=ITEM))
    assert item.demands[0].context == {"dynamodb:LeadingKeys": ("project#x",)}
    event = understood(
        "events", lambda c: c.put_events(Entries=[{"Source": "lehr", "DetailType": "RunStarted"}])
    )
    assert event.demands[0].context == {"events:source": "lehr", "events:detail-type": "RunStarted"}


CHAMPION = {"pk": {"S": "champion#x"}, "sk": {"S": "alias"}}
OF_ONE = {":x": {"S": "project#x"}, ":run": {"S": "run#"}}
# Calls, and the partition keys that each of their demands names.
KEYS_NAMED: list[tuple[str, Call, list[tuple[str, ...]]]] = [
    ("put", lambda c: c.put_item(TableName="registry", Item=CHAMPION), [("champion#x",)]),
    ("get", lambda c: c.get_item(TableName="registry", Key=ITEM), [("project#x",)]),
    (
        "update by ARN",
        lambda c: c.update_item(TableName=TABLE, Key=ITEM, UpdateExpression="SET pk = :x"),
        [("project#x",)],
    ),
    (
        "query",
        lambda c: c.query(
            TableName="registry",
            KeyConditionExpression="begins_with(sk, :run) AND pk = :x",
            ExpressionAttributeValues=OF_ONE,
        ),
        [("project#x",)],
    ),
    (
        "query by other names",
        lambda c: c.query(
            TableName="registry",
            KeyConditionExpression="#a=:x AND #b = :run",
            ExpressionAttributeNames={"#a": "pk", "#b": "sk"},
            ExpressionAttributeValues=OF_ONE,
        ),
        [("project#x",)],
    ),
    (
        "query in the old form",
        lambda c: c.query(
            TableName="registry",
            KeyConditions={"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "project#x"}]}},
        ),
        [("project#x",)],
    ),
    (
        "query of an index",
        lambda c: c.query(
            TableName="registry",
            IndexName="by-name",
            KeyConditionExpression="pk = :x",
            ExpressionAttributeValues=OF_ONE,
        ),
        [()],
    ),
    ("scan", lambda c: c.scan(TableName="registry"), [()]),
    (
        "batch of reads",
        lambda c: c.batch_get_item(RequestItems={"registry": {"Keys": [ITEM, CHAMPION, ITEM]}}),
        [("project#x", "champion#x")],
    ),
    (
        "batch of writes",
        lambda c: c.batch_write_item(
            RequestItems={
                "registry": [{"PutRequest": {"Item": ITEM}}, {"DeleteRequest": {"Key": CHAMPION}}],
                "other": [{"PutRequest": {"Item": ITEM}}],
            }
        ),
        [("project#x", "champion#x"), ()],
    ),
    (
        "transaction",
        lambda c: c.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": "registry", "Item": ITEM}},
                {"Delete": {"TableName": "registry", "Key": CHAMPION}},
            ]
        ),
        [("project#x",), ("champion#x",)],
    ),
]


@pytest.mark.parametrize(
    ("call", "keys"), [case[1:] for case in KEYS_NAMED], ids=[case[0] for case in KEYS_NAMED]
)
def test_conditions_can_ask_for_every_partition_key_that_a_call_names(
    call: Call, keys: list[tuple[str, ...]]
) -> None:
    needed = understood("dynamodb", call).demands
    assert [demand.context.get("dynamodb:LeadingKeys", ()) for demand in needed] == keys


def test_a_write_under_a_condition_on_the_present_object_needs_to_read_it() -> None:
    needed = demands("s3", lambda c: c.put_object(**PLACE, Body=b"x", IfMatch='"e"'))
    assert needed == [("s3:PutObject", OBJECT), ("s3:GetObject", OBJECT)]


def test_the_signer_is_found_in_a_header_and_in_a_presigned_address() -> None:
    call = sent("s3", lambda c: c.get_object(**PLACE))
    assert signer_of(call.headers, call.query) == ("KEY", REGION, "s3")
    client = boto3.Session("KEY", "secret", region_name=REGION).client(
        "s3", endpoint_url="http://localhost:1"
    )
    client.meta.events.register("choose-signer.s3.*", lambda **_: "s3v4-query")
    address = client.generate_presigned_url("get_object", Params=PLACE)
    assert signer_of({}, urlsplit(address).query) == ("KEY", REGION, "s3")


def test_a_task_token_stands_for_the_state_machine_that_waits_for_it() -> None:
    call = sent("stepfunctions", lambda c: c.send_task_success(taskToken="t", output="{}"))
    machines = {"t": MACHINE}
    (known,) = classify(call, ACCOUNT, machine_of_token=machines.get).demands
    assert (known.action, known.resource) == ("states:SendTaskSuccess", MACHINE)
    (unknown,) = classify(call, ACCOUNT).demands
    assert unknown.resource == "*"


def test_a_request_without_a_signature_is_nobodys() -> None:
    call = classify(HttpCall("GET", "/bucket/key", "", {"host": "localhost:1"}), ACCOUNT)
    assert call.access_key_id is None

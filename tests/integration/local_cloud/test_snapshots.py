"""`up --keep`: what a cloud holds is there again after it was stopped, and after it was killed."""

from __future__ import annotations

import json
import os
import signal
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lehr_local.state_files import process_started
from tests.integration.local_cloud.functions_cloud import eventually
from tests.integration.local_cloud.test_control import ANY_PORTS, client, lehr_local

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters: {Colour: {Type: String, Default: red}}
Conditions: {IsRed: !Equals [!Ref Colour, red]}
Resources:
  Data:
    Type: AWS::S3::Bucket
    Properties: {VersioningConfiguration: {Status: Enabled}}
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
  Work:
    Type: AWS::SQS::Queue
  News:
    Type: AWS::SNS::Topic
    Condition: IsRed
  Answer:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.13
      Handler: index.handler
      InlineCode: |
        import os
        def handler(event, context):
            print("answering")
            return {"statusCode": 200, "body": os.environ["COLOUR"] + " " + os.environ["QUEUE"]}
      Environment: {Variables: {COLOUR: !Ref Colour, QUEUE: !Ref Work}}
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      Role: arn:aws:iam::123456789012:role/machine
      Definition: {StartAt: Wait, States: {Wait: {Type: Wait, SecondsPath: $.s, End: true}}}
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [test]}
      Targets: [{Id: Work, Arn: !GetAtt Work.Arn}]
  Api:
    Type: AWS::ApiGatewayV2::Api
    Properties: {Name: answers, ProtocolType: HTTP}
  Integration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: AWS_PROXY
      IntegrationUri: !GetAtt Answer.Arn
      PayloadFormatVersion: "2.0"
  Route:
    Type: AWS::ApiGatewayV2::Route
    Properties: {ApiId: !Ref Api, RouteKey: GET /, Target: !Sub "integrations/${Integration}"}
  Stage:
    Type: AWS::ApiGatewayV2::Stage
    Properties: {ApiId: !Ref Api, StageName: $default, AutoDeploy: true}
Outputs:
  Data: {Value: !Ref Data}
  Table: {Value: !Ref Table}
  Work: {Value: !Ref Work}
  Answer: {Value: !Ref Answer}
  Machine: {Value: !Ref Machine}
  Url: {Value: !GetAtt Api.ApiEndpoint}
"""


def up(state_dir: Path, *options: str) -> dict[str, Any]:
    done = lehr_local("up", "--state", str(state_dir), "--json", *ANY_PORTS, *options)
    assert done.returncode == 0, done.stderr
    info: dict[str, Any] = json.loads(done.stdout)
    return info


def down(state_dir: Path) -> None:
    assert lehr_local("down", "--state", str(state_dir)).returncode == 0


def deploy(info: dict[str, Any], **parameters: str) -> dict[str, str]:
    """Create or change the stack; gives its outputs."""
    cloudformation = client(info, "cloudformation")
    arguments = {
        "StackName": "kept",
        "TemplateBody": TEMPLATE,
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    }
    if parameters:
        cloudformation.update_stack(**arguments)
    else:
        cloudformation.create_stack(**arguments)
    return outputs(info)


def outputs(info: dict[str, Any]) -> dict[str, str]:
    (stack,) = client(info, "cloudformation").describe_stacks(StackName="kept")["Stacks"]
    assert stack["StackStatus"].endswith("_COMPLETE")
    assert "ROLLBACK" not in stack["StackStatus"]
    return {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}


def answer(info: dict[str, Any]) -> str:
    context = ssl.create_default_context(cafile=info["ca_file"])
    with urllib.request.urlopen(outputs(info)["Url"] + "/", context=context, timeout=30) as response:
        text: str = response.read().decode()
        return text


def put(info: dict[str, Any], names: dict[str, str]) -> str:
    """Objects in two versions, an item, a message, an execution that ends and one that runs; gives the latter."""
    s3 = client(info, "s3")
    s3.put_object(Bucket=names["Data"], Key="k", Body=b"one", Tagging="a=b", Metadata={"m": "n"})
    s3.put_object(Bucket=names["Data"], Key="k", Body=b"two" * 3_000_000)
    item = {"pk": {"S": "x"}, "n": {"N": "1.5"}, "b": {"B": b"\x00\xff"}, "l": {"L": [{"BOOL": True}]}}
    client(info, "dynamodb").put_item(TableName=names["Table"], Item=item)
    client(info, "sqs").send_message(QueueUrl=names["Work"], MessageBody="hello")
    states = client(info, "stepfunctions")
    for name, seconds in (("quick", 0), ("slow", 60)):
        arn = states.start_execution(
            stateMachineArn=names["Machine"], name=name, input=json.dumps({"s": seconds})
        )["executionArn"]
        if name == "quick":
            ended = arn
    assert eventually(lambda: states.describe_execution(executionArn=ended)["status"] == "SUCCEEDED")
    return str(arn)


def holdings(info: dict[str, Any]) -> dict[str, Any]:
    """What a user sees of the cloud; ports are left out."""
    names = outputs(info)
    s3, states, logs = client(info, "s3"), client(info, "stepfunctions"), client(info, "logs")
    versions = s3.list_object_versions(Bucket=names["Data"])["Versions"]
    ended = f"{names['Machine'].replace(':stateMachine:', ':execution:')}:quick"
    messages = client(info, "sqs").receive_message(QueueUrl=names["Work"], VisibilityTimeout=0)["Messages"]
    group = f"/aws/lambda/{names['Answer']}"
    return {
        "names": {key: value for key, value in names.items() if key not in ("Url", "Work")},
        "versions": [(item["VersionId"], item["ETag"], item["Size"]) for item in versions],
        "body": s3.get_object(Bucket=names["Data"], Key="k")["Body"].read(),
        "tags": [
            s3.get_object_tagging(Bucket=names["Data"], Key="k", VersionId=item["VersionId"])["TagSet"]
            for item in versions
        ],
        "metadata": s3.head_object(Bucket=names["Data"], Key="k", VersionId=versions[-1]["VersionId"])[
            "Metadata"
        ],
        "items": client(info, "dynamodb").scan(TableName=names["Table"])["Items"],
        "messages": [message["Body"] for message in messages],
        "rules": [rule["Name"] for rule in client(info, "events").list_rules()["Rules"]],
        "topics": client(info, "sns").list_topics()["Topics"],
        "history": [event["type"] for event in states.get_execution_history(executionArn=ended)["events"]],
        "lines": "answering\n"
        in [e["message"] + "\n" for e in logs.filter_log_events(logGroupName=group)["events"]],
    }


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    lehr_local("down", "--state", str(tmp_path))


def test_a_stack_and_all_it_holds_are_there_after_a_restart_at_other_ports(state_dir: Path) -> None:
    info = up(state_dir, "--keep")
    names = deploy(info)
    slow = put(info, names)
    assert answer(info) == f"red {names['Work']}"
    before = holdings(info)
    assert before["lines"]
    down(state_dir)

    again = up(state_dir, "--keep")
    assert again["port"] != info["port"]
    assert holdings(again) == before
    # The queue has another address now, and the function knows it.
    assert outputs(again)["Work"] == names["Work"].replace(f":{info['port']}/", f":{again['port']}/")
    assert answer(again) == f"red {outputs(again)['Work']}"
    ended = client(again, "stepfunctions").describe_execution(executionArn=slow)
    assert (ended["status"], ended["error"]) == ("ABORTED", "LocalCloudStopped")

    # What is back can be changed: a condition turns false, a function gets another environment.
    deploy(again, Colour="blue")
    assert answer(again).startswith("blue ")
    assert client(again, "sns").list_topics()["Topics"] == []
    client(again, "events").put_events(Entries=[{"Source": "test", "DetailType": "t", "Detail": "{}"}])
    queue = outputs(again)["Work"]
    received = client(again, "sqs")
    assert eventually(
        lambda: (
            int(
                received.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])[
                    "Attributes"
                ]["ApproximateNumberOfMessages"]
            )
            == 2
        )
    )
    s3 = client(again, "s3")
    for item in s3.list_object_versions(Bucket=names["Data"])["Versions"]:
        s3.delete_object(Bucket=names["Data"], Key=item["Key"], VersionId=item["VersionId"])
    client(again, "cloudformation").delete_stack(StackName="kept")
    assert client(again, "lambda").list_functions()["Functions"] == []


def kill(state_dir: Path, info: dict[str, Any]) -> None:
    started = process_started(info["pid"])
    os.kill(info["pid"], signal.SIGKILL)
    assert eventually(lambda: process_started(info["pid"]) != started)


def test_a_cloud_that_is_killed_comes_back_as_of_its_last_snapshot(state_dir: Path) -> None:
    info = up(state_dir, "--keep")
    s3 = client(info, "s3")
    s3.create_bucket(Bucket="first-bucket")
    states = state_dir / "snapshot"

    def is_written() -> bool:
        # The first snapshot may have come before the bucket.
        files = sorted(states.glob("state-*"))
        return bool(files) and files[-1].stat().st_mtime_ns > begun

    begun = max((path.stat().st_mtime_ns for path in states.glob("state-*")), default=0)
    assert eventually(is_written, 40)
    kill(state_dir, info)

    again = up(state_dir, "--keep")
    assert [bucket["Name"] for bucket in client(again, "s3").list_buckets()["Buckets"]] == ["first-bucket"]
    # Stopped twice, there are two states; the newer one is torn.
    client(again, "s3").create_bucket(Bucket="second-bucket")
    down(state_dir)
    *_, older, newest = sorted(states.glob("state-*"))
    newest.write_bytes(newest.read_bytes()[:-7])
    last = up(state_dir, "--keep")
    assert [bucket["Name"] for bucket in client(last, "s3").list_buckets()["Buckets"]] == ["first-bucket"]
    assert "is torn" in (state_dir / "cloud.log").read_text()
    assert older.exists()


def test_without_keep_a_cloud_is_empty_and_leaves_the_snapshot_alone(state_dir: Path) -> None:
    info = up(state_dir, "--keep")
    client(info, "s3").create_bucket(Bucket="kept-bucket")
    down(state_dir)
    files = {path: path.read_bytes() for path in (state_dir / "snapshot").glob("state-*")}
    assert files
    info = up(state_dir)
    assert client(info, "s3").list_buckets()["Buckets"] == []
    down(state_dir)
    assert {path: path.read_bytes() for path in (state_dir / "snapshot").glob("state-*")} == files


def test_a_snapshot_of_which_nothing_is_whole_is_an_error_and_not_an_empty_cloud(state_dir: Path) -> None:
    up(state_dir, "--keep")
    down(state_dir)
    for path in (state_dir / "snapshot").glob("state-*"):
        path.write_bytes(b"torn")
    done = lehr_local("up", "--state", str(state_dir), *ANY_PORTS, "--keep")
    assert done.returncode == 2
    assert "No snapshot" in done.stderr

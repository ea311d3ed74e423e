"""A stack of moto's for the commands: buckets, table, outputs, function and state machine are real enough."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from lehr.aws.registry import DynamoModelRegistry

TEMPLATE = {
    "Resources": {
        "Data": {"Type": "AWS::S3::Bucket"},
        "Artifacts": {"Type": "AWS::S3::Bucket"},
        "Registry": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [
                    {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")
                ],
                "KeySchema": [
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
            },
        },
    },
    "Outputs": {
        "DataBucket": {"Value": {"Ref": "Data"}},
        "ArtifactBucket": {"Value": {"Ref": "Artifacts"}},
        "RegistryTable": {"Value": {"Ref": "Registry"}},
        "StartRunFunction": {"Value": "start-run"},
        "EndpointUrl": {"Value": "https://localhost:4743"},
    },
}


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    with mock_aws():
        yield


@pytest.fixture
def stack() -> Any:
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(StackName="lehr", TemplateBody=json.dumps(TEMPLATE))
    outputs = cloudformation.describe_stacks(StackName="lehr")["Stacks"][0]["Outputs"]
    values = {output["OutputKey"]: output["OutputValue"] for output in outputs}
    return SimpleNamespace(
        s3=boto3.client("s3"),
        data=values["DataBucket"],
        artifacts=values["ArtifactBucket"],
        registry=DynamoModelRegistry(boto3.resource("dynamodb").Table(values["RegistryTable"])),
    )

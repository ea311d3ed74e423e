"""The registry table as the template makes it, in moto."""

from __future__ import annotations

from typing import Any

import boto3


def make_registry_table() -> Any:
    """A boto3 Table resource; within `mock_aws`, and with credentials and a region in the environment."""
    return boto3.resource("dynamodb").create_table(
        TableName="registry",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    )

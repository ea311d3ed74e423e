"""How clients are made: bounded waits and standard retries, never botocore's 60-second defaults."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

CONFIG = Config(connect_timeout=3, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5})

# Behind the endpoint: three attempts end long before API Gateway's 30 seconds do.
ENDPOINT_CONFIG = Config(
    connect_timeout=0.5, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3}
)


@cache
def make_client(service: str, config: Config = CONFIG) -> Any:
    """The client of a service, one for each process: region, credentials and AWS_ENDPOINT_URL are the environment's."""
    return boto3.client(service, config=config)


def make_table(name: str, config: Config = CONFIG) -> Any:
    """A DynamoDB table with plain Python values in its items."""
    return boto3.resource("dynamodb", config=config).Table(name)

"""The deployed stack as the commands use it: its outputs, its buckets, its registry."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from lehr.aws.approvals import DynamoApprovals
from lehr.aws.registry import DynamoModelRegistry
from lehr.aws.s3 import S3ObjectStore
from lehr.function_types import DEFAULT_MEMORY_MB
from lehr_cli.failures import CloudError
from lehr_cli.target import Target


class Stack:
    """A Lehr stack; clients are made on first use."""

    def __init__(
        self,
        target: Target,
        name: str,
        outputs: Mapping[str, str],
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self.target, self.name, self.outputs, self.parameters = target, name, outputs, parameters or {}

    def output(self, key: str) -> str:
        """An output of the CloudFormation stack. Raises CloudError when it has no such output."""
        if key not in self.outputs:
            raise CloudError(
                f"the stack {self.name!r} has no output {key}",
                "is it a Lehr stack of this release? --stack names another",
            )
        return self.outputs[key]

    @cached_property
    def s3(self) -> Any:
        return self.target.client("s3")

    @cached_property
    def data(self) -> S3ObjectStore:
        """The bucket that raw data is dropped in."""
        return S3ObjectStore(self.output("DataBucket"), self.s3)

    @cached_property
    def artifacts(self) -> S3ObjectStore:
        """The bucket of everything else."""
        return S3ObjectStore(self.output("ArtifactBucket"), self.s3)

    @cached_property
    def registry(self) -> DynamoModelRegistry:
        return DynamoModelRegistry(self.target.table(self.output("RegistryTable")))

    @cached_property
    def approvals(self) -> DynamoApprovals:
        return DynamoApprovals(self.target.table(self.output("RegistryTable")))

    @cached_property
    def executions(self) -> Any:
        return self.target.client("stepfunctions")

    @cached_property
    def logs(self) -> Any:
        return self.target.client("logs")

    @property
    def function_memory_mb(self) -> int:
        """Of the training function; 0 of a stack without one."""
        if not self.parameters.get("TrainerFunctionImageUri"):
            return 0
        return int(self.parameters.get("TrainerFunctionMemoryMb") or DEFAULT_MEMORY_MB)

    @property
    def signing_key(self) -> str:
        """ARN of the key that signs model packages; empty for a stack that signs none."""
        return self.outputs.get("SigningKeyArn", "")

    @property
    def endpoint_url(self) -> str:
        """Base URL of the predictions, without a slash at its end."""
        return self.output("EndpointUrl").rstrip("/")

    def projects(self) -> list[str]:
        """Names of the projects that were pushed."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.artifacts.bucket, Prefix="projects/", Delimiter="/"
        )
        return [prefix["Prefix"].split("/")[1] for page in pages for prefix in page.get("CommonPrefixes", [])]


def open_stack(target: Target, name: str) -> Stack:
    """Read what a stack was given and gives. Raises CloudError when there is none of that name, or it is not ready."""
    hint = (
        "run `lehr local up`"
        if target.endpoint_url
        else "run `sam build && sam deploy`, or name yours with --stack; `lehr local up` needs no AWS"
    )
    try:
        described = target.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as fault:
        if fault.response["Error"]["Code"] != "ValidationError":
            raise
        described = []
    if not described:
        where = target.endpoint_url or f"region {target.region}"
        raise CloudError(f"there is no stack {name!r} at {where}", hint)
    status = described[0]["StackStatus"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described[0].get("Outputs", [])}
    if not outputs:
        raise CloudError(f"the stack {name!r} has no outputs: its status is {status}", hint)
    parameters = {
        item["ParameterKey"]: item.get("ParameterValue", "") for item in described[0].get("Parameters", [])
    }
    return Stack(target, name, outputs, parameters)

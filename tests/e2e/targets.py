"""Where the suite runs: a local cloud of its own, or a stack that was deployed on AWS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import boto3
import pytest

from lehr_cli.failures import CloudError, CommandError, explain
from lehr_cli.stack import open_stack
from lehr_cli.target import Target as Cloud
from lehr_cli.target import choose_target, local_target, running_local_cloud

NAMED_ENDPOINT = "AWS_ENDPOINT_URL"
# A sentence for whoever gives the options wrongly is worth more than the trace of the call that noticed.
_NO_REGION = "no AWS region is set: export AWS_REGION, or choose a profile that has one"


class Target(Protocol):
    """A cloud that holds a Lehr stack. `patience_s` is for a command that trains, `soon_s` for an event to arrive."""

    @property
    def stack(self) -> str: ...

    @property
    def patience_s(self) -> float: ...

    @property
    def soon_s(self) -> float: ...

    def cloud(self, folder: Path) -> Cloud:
        """The clients' side of it, for a workplace in `folder`."""

    def options(self) -> list[str]:
        """What the `lehr` command is given to find it."""

    def environment(self) -> dict[str, str]:
        """The variables that the `lehr` command runs with."""


class LocalTarget:
    """The local cloud of the workplace's own folder."""

    patience_s = 180.0
    soon_s = 30.0

    def __init__(self, stack: str = "lehr") -> None:
        self.stack = stack

    def cloud(self, folder: Path) -> Cloud:
        info = running_local_cloud(folder)
        assert info is not None, f"no local cloud runs in {folder}"
        return local_target(info)

    def options(self) -> list[str]:
        return ["--stack", self.stack]

    def environment(self) -> dict[str, str]:
        """The host's environment without anything that points at a real account or another cloud."""
        return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LEHR_"))}


class AwsTarget:
    """A stack under the credentials and the region in force; AWS_ENDPOINT_URL counts, as it does for any client."""

    # A container starts in 2 to 10 minutes, and may wait for capacity before that.
    patience_s = 3600.0
    soon_s = 120.0

    def __init__(self, stack: str, cloud: Cloud) -> None:
        self.stack = stack
        self._cloud = cloud

    def cloud(self, folder: Path) -> Cloud:
        return self._cloud

    def options(self) -> list[str]:
        where = [] if self._cloud.endpoint_url else ["--aws"]
        return ["--stack", self.stack, "--region", self._cloud.region, *where]

    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("LEHR_")}


def chosen_target(name: str, stack: str | None) -> Target:
    """The target that the options name. Raises UsageError, in one sentence, when it cannot be tested."""
    if name == "local":
        if stack:
            raise pytest.UsageError("--stack names a stack on AWS: it goes with --target aws")
        return LocalTarget()
    if not stack:
        raise pytest.UsageError("--target aws needs --stack NAME, the stack to be tested")
    try:
        return AwsTarget(stack, _checked_cloud(stack))
    except Exception as fault:
        told = explain(fault)
        if told is None:
            raise
        hint = f" ({told.hint})" if told.hint else ""
        raise pytest.UsageError(f"--target aws: {told.message}{hint}") from fault


def _checked_cloud(stack: str) -> Cloud:
    """The cloud in force, which has the stack. Raises CommandError or botocore's errors."""
    if not (os.environ.get("AWS_REGION") or boto3.Session().region_name):
        raise CommandError(_NO_REGION)
    # No folder of a local cloud: whoever says aws does not mean the one that runs beside the repository.
    cloud = choose_target(is_aws=NAMED_ENDPOINT not in os.environ, region=None, folder=Path(os.devnull))
    cloud.client("sts").get_caller_identity()
    open_stack(cloud, stack).output("EndpointUrl")
    auth = stack_parameters(cloud, stack).get("EndpointAuth", "AWS_IAM")
    if auth != "AWS_IAM":
        raise CloudError(f"the stack {stack!r} has EndpointAuth={auth}, and the suite signs its requests")
    return cloud


def stack_parameters(cloud: Cloud, stack: str) -> Mapping[str, str]:
    """What a stack was deployed with."""
    (described,) = cloud.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {one["ParameterKey"]: one["ParameterValue"] for one in described.get("Parameters", [])}

"""Who a key belongs to and which policies hold for whom: the only module of the shield that reads moto.

The key of a role carries its name, so that any part of the local cloud can make one and none has to be kept.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

from moto.awslambda.exceptions import GenericResourcNotFound, UnknownFunctionException

from lehr_local.authority import USER_KEY_ID, Context
from lehr_local.shield.policies import Document

_ROLE_KEY = "ROLE-"


class UnknownKeyError(Exception):
    """Raised for an access key id that nobody has."""


def key_of_role(role_arn: str) -> str:
    """The access key id of a role."""
    return _ROLE_KEY + quote(role_arn.rpartition("/")[2], safe="")


class Principals:
    """The roles of one account and region, and the policies of its resources, as deployed in moto."""

    def __init__(self, account_id: str, region: str) -> None:
        self._account_id = account_id
        self._region = region

    def role_of(self, access_key_id: str) -> str | None:
        """The name of the role that acts with this key, None for the user. Raises UnknownKeyError."""
        if access_key_id == USER_KEY_ID:
            return None
        if access_key_id.startswith(_ROLE_KEY):
            return unquote(access_key_id.removeprefix(_ROLE_KEY))
        for session in self._backend("sts", "aws").assumed_roles:
            if session.access_key_id == access_key_id:
                return str(session.role_arn).rpartition("/")[2]
        raise UnknownKeyError(access_key_id)

    def documents_of(self, role_name: str) -> list[Document]:
        """Inline and attached policies of a role; none for a role that does not exist."""
        role = self._role(role_name)
        if role is None:
            return []
        attached = [_default_version(policy) for policy in list(role.managed_policies.values())]
        return [_parse(text) for text in [*list(role.policies.values()), *attached]]

    def resource_documents(self, arn: str) -> list[Document]:
        """The policy of a resource: of a queue, a function or a bucket, or who may act as a role."""
        service, _, _, name = (arn.split(":", 5) + [""] * 6)[2:6]
        readers: dict[str, Callable[[str], Any]] = {
            "sqs": self._queue_policy,
            "lambda": self._function_policy,
            "iam": self._trust_policy,
            "s3": self._bucket_policy,
        }
        policy = readers[service](name) if service in readers else None
        return [_parse(policy)] if policy else []

    def context_of(self, role_name: str) -> Context:
        """What holds for every request of a role. Requests count as made over TLS: nobody listens on a loopback."""
        role = self._role(role_name)
        return {
            "aws:PrincipalAccount": self._account_id,
            "aws:PrincipalIsAWSService": "false",
            "aws:PrincipalArn": role.arn if role is not None else "",
            "aws:PrincipalType": "AssumedRole",
            "aws:RequestedRegion": self._region,
            "aws:ResourceAccount": self._account_id,
            "aws:SecureTransport": "true",
            "aws:ViaAWSService": "false",
        }

    def tags_of(self, resource: str) -> Context:
        """The tags of a job, as `aws:ResourceTag/…`; nobody asks for those of anything else."""
        service, _, _, name = (resource.split(":", 5) + [""] * 6)[2:6]
        kind, _, name = name.partition("/")
        if (service, kind) == ("sagemaker", "training-job"):
            job = self._backend("sagemaker", self._region).training_jobs.get(name)
            pairs = {tag["Key"]: tag["Value"] for tag in getattr(job, "tags", None) or []}
        elif (service, kind) == ("batch", "job"):
            pairs = getattr(self._backend("batch", self._region).get_job_by_id(name), "tags", None) or {}
        else:
            return {}
        return {f"aws:ResourceTag/{key}": str(value) for key, value in pairs.items()}

    def partition_key_of(self, table_name: str) -> str | None:
        table = self._backend("dynamodb", self._region).tables.get(table_name)
        return None if table is None else str(table.hash_key_attr)

    def state_machine(self, arn: str) -> Any:
        """moto's record of a state machine, or None."""
        machines = self._backend("stepfunctions", self._region).state_machines
        return next((machine for machine in list(machines) if machine.arn == arn), None)

    def machine_of_token(self, token: str) -> str | None:
        """The ARN of the state machine in which a task waits, or has waited, for a token."""
        # The interpreter keeps executions in a backend of its own.
        from moto.stepfunctions.responses import get_backend

        for machine in list(get_backend(self._account_id, self._region).state_machines):
            for execution in list(machine.executions):
                # The interpreter makes an environment in a thread of its own, so there may be none yet.
                env = execution.exec_worker and execution.exec_worker.env
                if env and env.callback_pool_manager.get(token) is not None:
                    return str(machine.arn)
        return None

    def _role(self, name: str) -> Any:
        roles = self._backend("iam", "aws").roles
        return next((role for role in list(roles.values()) if role.name == name), None)

    def _queue_policy(self, name: str) -> Any:
        queue = self._backend("sqs", self._region).queues.get(name)
        return None if queue is None else queue.policy

    def _function_policy(self, name: str) -> Any:
        from moto.awslambda.utils import get_backend

        try:
            function = get_backend(self._account_id, self._region).get_function(name.split(":")[1])
            return json.loads(function.policy.wire_format())["Policy"]
        except (UnknownFunctionException, GenericResourcNotFound):
            return None

    def _bucket_policy(self, name: str) -> Any:
        """As the template has it: moto's own copy lacks what denies under a condition (see `BucketPolicy`)."""
        bucket = name.partition("/")[0]
        stacks = self._backend("cloudformation", self._region).stacks
        for stack in list(stacks.values()):
            for policy in stack.resource_map.of_type("AWS::S3::BucketPolicy"):
                if policy.properties["Bucket"] == bucket:
                    return policy.properties["PolicyDocument"]
        return None

    def _trust_policy(self, name: str) -> Any:
        role = self._role(name.rpartition("/")[2])
        return None if role is None else role.assume_role_policy_document

    def _backend(self, service: str, region: str) -> Any:
        from moto.backends import get_backend

        return get_backend(service)[self._account_id][region]


def _default_version(policy: Any) -> Any:
    """The document in force of a managed policy; moto has AWS's own, as AWS publishes them."""
    versions = policy.versions
    return next((version.document for version in versions if version.is_default), versions[0].document)


def _parse(document: Any) -> Document:
    return _parse_text(document) if isinstance(document, str) else document


@functools.lru_cache(maxsize=512)
def _parse_text(text: str) -> Document:
    document: Document = json.loads(unquote(text) if text.startswith("%7B") else text)
    return document

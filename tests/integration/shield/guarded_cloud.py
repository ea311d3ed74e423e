"""A local cloud in which roles may do only what their policies allow, with the real template in it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3

from lehr_local.shield.policies import Demand, decide
from lehr_local.shield.principals import key_of_role
from tests.e2e.targets import LocalTarget
from tests.e2e.workplace import ROOT, Workplace, make_workplace

STACK = "lehr"


@dataclass(frozen=True)
class Grant:
    """One Allow statement of an inline policy. `role` is its logical name, as in the template."""

    role: str
    role_name: str
    policy_name: str
    index: int
    statement: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.role}: {', '.join(self.actions)}"

    @property
    def actions(self) -> list[str]:
        actions = self.statement["Action"]
        return [actions] if isinstance(actions, str) else list(actions)


@dataclass(frozen=True)
class GuardedCloud:
    """The cloud, its user, and a look into the record of its shield."""

    place: Workplace

    def calls(self, *, roles_only: bool = True) -> list[dict[str, Any]]:
        """What was judged so far."""
        calls: list[dict[str, Any]] = json.loads(self._shield("GET", "calls"))["calls"]
        return [call for call in calls if call["actor"] != "user" or not roles_only]

    def denials(self) -> list[str]:
        return [
            f"{call['actor']}: {call['action']} on {call['resource']}"
            for call in self.calls()
            if call["outcome"] != "allowed"
        ]

    def forget_calls(self) -> None:
        self._shield("DELETE", "calls")

    @cached_property
    def roles(self) -> dict[str, str]:
        """Names of the roles by their logical names."""
        pages = (
            self.place.client("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName=STACK)
        )
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for page in pages
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == "AWS::IAM::Role"
        }

    def functions(self) -> list[str]:
        """Names of all functions."""
        pages = self.place.client("lambda").get_paginator("list_functions").paginate()
        return [function["FunctionName"] for page in pages for function in page["Functions"]]

    def call(self, function: str, payload: dict[str, Any]) -> tuple[bool, Any]:
        """Whether a function of the template (PromoteModel) has failed, and its answer."""
        (name,) = [name for name in self.functions() if f"-{function}Function-" in name]
        answer = self.place.client("lambda").invoke(FunctionName=name, Payload=json.dumps(payload).encode())
        with answer["Payload"] as body:
            return "FunctionError" in answer, json.loads(body.read())

    def grants(self) -> list[Grant]:
        """Every Allow statement of the template's roles, as deployed."""
        iam = self.place.client("iam")
        grants = []
        for role, name in sorted(self.roles.items()):
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                for index, statement in enumerate(document["Statement"]):
                    if statement["Effect"] == "Allow":
                        grants.append(Grant(role, name, policy, index, statement))
        return grants

    @contextlib.contextmanager
    def without(self, grant: Grant) -> Iterator[None]:
        """A role that has lost one statement."""
        iam = self.place.client("iam")
        key = {"RoleName": grant.role_name, "PolicyName": grant.policy_name}
        document = iam.get_role_policy(**key)["PolicyDocument"]
        rest = [statement for index, statement in enumerate(document["Statement"]) if index != grant.index]
        # A policy of a role must say something.
        nothing = [{"Effect": "Deny", "Action": "none:None", "Resource": "*"}]
        iam.put_role_policy(**key, PolicyDocument=json.dumps({**document, "Statement": rest or nothing}))
        try:
            yield
        finally:
            iam.put_role_policy(**key, PolicyDocument=json.dumps(document))

    def documents_of(self, role_name: str) -> list[dict[str, Any]]:
        """Inline and attached policies of a role."""
        iam = self.place.client("iam")
        documents = [
            iam.get_role_policy(RoleName=role_name, PolicyName=name)["PolicyDocument"]
            for name in iam.list_role_policies(RoleName=role_name)["PolicyNames"]
        ]
        for policy in iam.list_attached_role_policies(RoleName=role_name)["AttachedPolicies"]:
            version = iam.get_policy(PolicyArn=policy["PolicyArn"])["Policy"]["DefaultVersionId"]
            answer = iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId=version)
            documents.append(answer["PolicyVersion"]["Document"])
        return documents

    def client_of(self, role: str, service: str) -> Any:
        """A client that acts as a role of the stack."""
        info = self.place.info()
        key = key_of_role(f"arn:aws:iam::{info['account_id']}:role/{self.roles[role]}")
        return self._session.client(
            service,
            region_name=info["region"],
            endpoint_url=info["endpoint_url"],
            aws_access_key_id=key,
            aws_secret_access_key="secret",
        )

    @cached_property
    def _session(self) -> boto3.Session:
        """One for all roles: it reads the description of a service once."""
        return boto3.Session()

    def _shield(self, method: str, name: str) -> bytes:
        url = f"{self.place.info()['endpoint_url']}/lehr/shield/{name}"
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
            body: bytes = answer.read()
            return body


def needed_by(grant: Grant, documents: list[dict[str, Any]], calls: list[dict[str, Any]]) -> set[str]:
    """The actions of recorded calls that this statement alone allows."""
    rest = [
        {**document, "Statement": [item for item in document["Statement"] if item != grant.statement]}
        for document in documents
    ]
    asked = {
        (call["action"], call["resource"], json.dumps(call["context"], sort_keys=True))
        for call in calls
        if call["actor"] == grant.role_name and call["outcome"] == "allowed"
    }
    needed = set()
    for action, resource, context in asked:
        known = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in json.loads(context).items()
        }
        if decide(rest, Demand(action, resource, known)) != "allowed":
            needed.add(action)
    return needed


@contextlib.contextmanager
def guarded_cloud(folder: Path) -> Iterator[GuardedCloud]:
    """Started with `--enforce-iam` and deployed, by the commands that a user has."""
    place = make_workplace(folder, LocalTarget())
    command = [sys.executable, "-m", "lehr_local"]
    state = ["--state", str(folder / ".lehr")]
    started = subprocess.run(
        [*command, "up", *state, "--port", "0", "--https-port", "0", "--enforce-iam"],
        cwd=ROOT,
        env=place.target.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert started.returncode == 0, started.stderr
    try:
        options = ("ApprovalLinks=yes", "PackageSignatures=require", "ModelRegistryMirror=yes")
        given = (word for option in options for word in ("--parameter", option))
        deployed = place.lehr("local", "up", *given)
        assert deployed.code == 0, deployed.stderr
        yield GuardedCloud(place)
    finally:
        assert place.lehr("local", "down").code == 0


def eventually(check: Any, timeout_s: float = 30) -> Any:
    """The first true value of `check`, or its last one."""
    deadline = time.monotonic() + timeout_s
    while not (value := check()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return value

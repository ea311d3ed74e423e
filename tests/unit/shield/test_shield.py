"""The shield as its callers meet it: what it lets through, refuses, records, and makes fail."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from lehr_local.authority import AccessDeniedError, NoAuthority
from lehr_local.shield.faults import Fault
from lehr_local.shield.principals import UnknownKeyError, key_of_role
from lehr_local.shield.record import Judgement
from lehr_local.shield.shield import Shield

ACCOUNT, REGION = "123456789012", "us-east-1"
READER = f"arn:aws:iam::{ACCOUNT}:role/reader"
TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t"
CLOSED_BUCKET = "arn:aws:s3:::closed"


class FixedPrincipals:
    """One role, which may read one table and any bucket, a queue that takes messages of one rule, a closed bucket."""

    def role_of(self, key: str) -> str | None:
        names = {"local": None, key_of_role(READER): "reader"}
        if key not in names:
            raise UnknownKeyError(key)
        return names[key]

    def documents_of(self, role: str) -> list[dict[str, Any]]:
        return [
            {"Statement": {"Effect": "Allow", "Action": "dynamodb:Get*", "Resource": TABLE}},
            {"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}},
        ]

    def machine_of_token(self, token: str) -> str | None:
        return None

    def resource_documents(self, arn: str) -> list[dict[str, Any]]:
        if arn.startswith(CLOSED_BUCKET):
            unless = {"Null": {"s3:if-none-match": "true"}}
            return [
                {"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:Put*", "Condition": unless}}
            ]
        rule = {"ArnEquals": {"aws:SourceArn": "arn:aws:events:r:1:rule/x"}}
        principal = {"Service": "events.amazonaws.com"}
        return [
            {"Statement": {"Effect": "Allow", "Principal": principal, "Action": "sqs:*", "Condition": rule}}
        ]

    def context_of(self, role: str) -> dict[str, str]:
        return {"aws:PrincipalAccount": ACCOUNT}

    def tags_of(self, resource: str) -> dict[str, str]:
        return {}

    def partition_key_of(self, table: str) -> str | None:
        return None


class Cloud:
    """A shield with an application behind it that counts what reaches it."""

    def __init__(self) -> None:
        self.shield = Shield(ACCOUNT, REGION)
        self.shield._principals = FixedPrincipals()  # type: ignore[assignment]
        self.reached = 0
        self._application = self.shield.guarded(self._answer)

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.reached += 1
        start_response("200 OK", [])
        return [b"{}"]

    def send(
        self,
        operation: str,
        key: str | None = None,
        path: str = "/",
        method: str = "POST",
        body: bytes = b'{"TableName": "t"}',
    ) -> tuple[str, Any]:
        """Status and document of the answer to a call of DynamoDB."""
        key = key_of_role(READER) if key is None else key
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "HTTP_X_AMZ_TARGET": f"DynamoDB_20120810.{operation}",
            "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential={key}/20260101/{REGION}/dynamodb/aws4_request, x",
        }
        statuses: list[str] = []
        answer = b"".join(self._application(environ, lambda status, _: statuses.append(status)))
        return statuses[0], json.loads(answer)


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def test_what_a_policy_allows_goes_through(cloud: Cloud) -> None:
    assert cloud.send("GetItem") == ("200 OK", {})
    assert cloud.reached == 1


def test_what_none_allows_is_refused_with_role_action_and_resource(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    status, answer = cloud.send("PutItem")
    assert status.startswith("400")
    assert answer["__type"] == "AccessDeniedException"
    assert answer["message"] == (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/reader/local is not authorized to perform: dynamodb:PutItem "
        f"on resource: {TABLE} because no identity-based policy allows the dynamodb:PutItem action"
    )
    assert cloud.reached == 0
    assert answer["message"] in caplog.text


def test_the_user_is_an_administrator(cloud: Cloud) -> None:
    assert cloud.send("DeleteTable", key="local")[0] == "200 OK"


def test_a_key_that_nobody_has_is_refused(cloud: Cloud) -> None:
    assert cloud.send("GetItem", key="AKIAX")[1]["__type"] == "InvalidClientTokenId"


def test_every_judgement_is_recorded_and_can_be_read_over_http(cloud: Cloud) -> None:
    cloud.send("GetItem")
    cloud.send("PutItem")
    recorded = [(item.actor, item.action, item.outcome) for item in cloud.shield.record.judgements()]
    assert recorded == [
        ("reader", "dynamodb:GetItem", "allowed"),
        ("reader", "dynamodb:PutItem", "not allowed"),
    ]
    status, answer = cloud.send("", path="/lehr/shield/calls", method="GET")
    assert status == "200 OK"
    assert [call["resource"] for call in answer["calls"]] == [TABLE, TABLE]
    cloud.send("", path="/lehr/shield/calls", method="DELETE")
    assert cloud.shield.record.judgements() == []


def test_without_enforcement_the_denial_is_recorded_only(cloud: Cloud) -> None:
    cloud.shield.is_enforcing = False
    assert cloud.send("PutItem")[0] == "200 OK"
    (judgement,) = cloud.shield.record.judgements()
    assert judgement.is_denied


def test_what_happens_inside_the_cloud_is_judged_alike(cloud: Cloud) -> None:
    cloud.shield.demand(READER, "dynamodb:GetItem", TABLE)
    with pytest.raises(AccessDeniedError, match="dynamodb:DeleteTable"):
        cloud.shield.demand(READER, "dynamodb:DeleteTable", TABLE)


def test_what_a_resource_denies_to_everybody_no_policy_of_a_role_allows(cloud: Cloud) -> None:
    key = f"{CLOSED_BUCKET}/k"
    cloud.shield.demand(READER, "s3:GetObject", key)
    cloud.shield.demand(READER, "s3:PutObject", key, {"s3:if-none-match": "*"})
    cloud.shield.demand(READER, "s3:PutObject", "arn:aws:s3:::open/k")
    with pytest.raises(AccessDeniedError, match="with an explicit deny in a resource-based policy"):
        cloud.shield.demand(READER, "s3:PutObject", key)
    assert cloud.shield.record.judgements()[-1].outcome == "explicitly denied"


def test_a_service_is_judged_by_the_policy_of_the_resource(cloud: Cloud) -> None:
    queue, source = "arn:aws:sqs:r:1:q", {"aws:SourceArn": "arn:aws:events:r:1:rule/x"}
    cloud.shield.demand_for_service("events.amazonaws.com", "sqs:SendMessage", queue, source)
    for service, context in (("sns.amazonaws.com", source), ("events.amazonaws.com", {})):
        with pytest.raises(AccessDeniedError):
            cloud.shield.demand_for_service(service, "sqs:SendMessage", queue, context)


@pytest.mark.parametrize(("kind", "reached"), [("error", 0), ("lost_reply", 1)])
def test_a_fault_fails_as_many_calls_as_it_says(cloud: Cloud, kind: Any, reached: int) -> None:
    cloud.shield.faults.add(Fault(action="dynamodb:Get*", kind=kind, code="InternalServerError"))
    status, answer = cloud.send("GetItem")
    assert (status[:3], answer["__type"]) == ("500", "InternalServerError")
    assert (cloud.reached, cloud.shield.faults.landed) == (reached, 1)
    assert cloud.send("GetItem")[0] == "200 OK"


def test_a_fault_is_ordered_over_http_and_hits_its_actor_only(cloud: Cloud) -> None:
    order = {
        "action": "dynamodb:*",
        "kind": "error",
        "actor": "reader",
        "code": "ThrottlingException",
        "status": 400,
    }
    cloud.send("", path="/lehr/shield/faults", body=json.dumps(order).encode())
    assert cloud.send("GetItem", key="local")[0] == "200 OK"
    assert cloud.send("GetItem")[1]["__type"] == "ThrottlingException"


def test_a_delay_lets_the_call_go_on(cloud: Cloud) -> None:
    cloud.shield.faults.add(Fault(action="*", kind="delay", delay_s=0.0))
    assert cloud.send("GetItem") == ("200 OK", {})
    assert cloud.shield.faults.landed == 1


def test_without_a_shield_everybody_is_the_user() -> None:
    authority = NoAuthority()
    authority.demand(READER, "anything", "*")
    authority.demand_for_service("events.amazonaws.com", "anything", "*", {})
    assert authority.key_of(READER) == "local"


def test_a_judgement_knows_when_it_was_made() -> None:
    assert Judgement("reader", "a", "b", "allowed").at > 0

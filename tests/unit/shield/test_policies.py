"""What policies allow: a table of cases, one for each rule of the language."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr_local.shield.conditions import UnknownOperatorError
from lehr_local.shield.policies import Demand, decide, denies_everybody
from tests.unit.shield.generated_cases import case

ACCOUNT = "123456789012"
KEY = "arn:aws:s3:::data/runs/7/x.json"
BUCKET = "arn:aws:s3:::data"


def outcome(
    statement: dict[str, Any],
    action: str = "s3:GetObject",
    resource: str = KEY,
    context: dict[str, Any] | None = None,
    version: str = "2012-10-17",
) -> str:
    full = {"Effect": "Allow", "Action": "*", "Resource": "*", **statement}
    for name in ("Action", "Resource"):
        if f"Not{name}" in statement:
            del full[name]
    return decide([{"Version": version, "Statement": full}], Demand(action, resource, context or {}))


@pytest.mark.parametrize(
    ("pattern", "is_allowed"),
    [
        ("s3:GetObject", True),
        ("S3:getobject", True),
        ("s3:Get*", True),
        ("s3:Get?bject", True),
        ("s3:*", True),
        ("*", True),
        ("s3:GetObjectVersion", False),
        ("s3:GetObjec", False),
        ("dynamodb:*", False),
        (["s3:PutObject", "s3:GetObject"], True),
    ],
)
def test_actions_match_with_wildcards_and_without_case(pattern: Any, is_allowed: bool) -> None:
    assert (outcome({"Action": pattern}) == "allowed") is is_allowed


@pytest.mark.parametrize(
    ("pattern", "is_allowed"),
    [
        (KEY, True),
        ("arn:aws:s3:::data/runs/*", True),
        ("arn:aws:s3:::data/*.json", True),
        ("arn:aws:s3:::data/runs/?/x.json", True),
        ("arn:aws:s3:::DATA/runs/*", False),
        ("arn:aws:s3:::data", False),
        ("arn:aws:s3:::data/run", False),
        ("arn:*:s3:::data/*", True),
        ("arn:aws:*", False),
        ("*", True),
    ],
)
def test_resources_match_part_by_part_and_with_case(pattern: str, is_allowed: bool) -> None:
    assert (outcome({"Resource": pattern}) == "allowed") is is_allowed


def test_not_action_and_not_resource_are_what_is_left_over() -> None:
    assert outcome({"NotAction": "s3:PutObject"}) == "allowed"
    assert outcome({"NotAction": "s3:Get*"}) == "not allowed"
    assert outcome({"NotResource": f"{BUCKET}/models/*"}) == "allowed"
    assert outcome({"NotResource": f"{BUCKET}/runs/*"}) == "not allowed"


def test_an_explicit_deny_wins_wherever_it_stands() -> None:
    allow = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    deny = {"Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": f"{BUCKET}/*"}]}
    demand = Demand("s3:GetObject", KEY)
    assert decide([allow], demand) == "allowed"
    assert decide([deny, allow], demand) == decide([allow, deny], demand) == "explicitly denied"


def test_what_nobody_allows_is_not_allowed() -> None:
    assert decide([], Demand("s3:GetObject", KEY)) == "not allowed"


CONDITIONS: list[tuple[str, Any, dict[str, Any], bool]] = [
    ("StringEquals", {"s3:prefix": "a"}, {"s3:prefix": "a"}, True),
    ("StringEquals", {"s3:prefix": "a"}, {"S3:Prefix": "a"}, True),
    ("StringEquals", {"s3:prefix": ["a", "b"]}, {"s3:prefix": "b"}, True),
    ("StringEquals", {"s3:prefix": "a"}, {"s3:prefix": "A"}, False),
    ("StringEquals", {"s3:prefix": "a*"}, {"s3:prefix": "abc"}, False),
    ("StringEquals", {"s3:prefix": "a"}, {}, False),
    ("StringEqualsIfExists", {"s3:prefix": "a"}, {}, True),
    ("StringEqualsIfExists", {"s3:prefix": "a"}, {"s3:prefix": "b"}, False),
    ("StringEqualsIgnoreCase", {"s3:prefix": "a"}, {"s3:prefix": "A"}, True),
    ("StringNotEquals", {"s3:prefix": ["a", "b"]}, {"s3:prefix": "b"}, False),
    ("StringNotEquals", {"s3:prefix": ["a", "b"]}, {"s3:prefix": "c"}, True),
    ("StringNotEquals", {"s3:prefix": "a"}, {}, True),
    ("StringLike", {"s3:prefix": "runs/*"}, {"s3:prefix": "runs/7"}, True),
    ("StringLike", {"s3:prefix": "runs/*"}, {"s3:prefix": "datasets/7"}, False),
    ("StringNotLike", {"s3:prefix": "runs/*"}, {"s3:prefix": "runs/7"}, False),
    (
        "ArnLike",
        {"aws:SourceArn": "arn:aws:events:*:*:rule/*"},
        {"aws:SourceArn": "arn:aws:events:r:1:rule/x"},
        True,
    ),
    (
        "ArnEquals",
        {"aws:SourceArn": "arn:aws:events:r:1:rule/*"},
        {"aws:SourceArn": "arn:aws:events:r:1:rule/x"},
        True,
    ),
    ("ArnLike", {"aws:SourceArn": "arn:aws:*"}, {"aws:SourceArn": "arn:aws:events:r:1:rule/x"}, False),
    ("ArnNotLike", {"aws:SourceArn": "arn:aws:sns:*:*:*"}, {"aws:SourceArn": "arn:aws:sns:r:1:t"}, False),
    ("Bool", {"aws:SecureTransport": "false"}, {"aws:SecureTransport": "true"}, False),
    ("Bool", {"aws:SecureTransport": True}, {"aws:SecureTransport": "true"}, True),
    ("Null", {"s3:prefix": "true"}, {}, True),
    ("Null", {"s3:prefix": "true"}, {"s3:prefix": ""}, False),
    ("Null", {"s3:prefix": False}, {"s3:prefix": ""}, True),
    ("NumericLessThanEquals", {"s3:max-keys": "10"}, {"s3:max-keys": "10"}, True),
    ("NumericLessThan", {"s3:max-keys": "10"}, {"s3:max-keys": "9"}, True),
    ("NumericEquals", {"s3:max-keys": 10}, {"s3:max-keys": "10.0"}, True),
    ("NumericGreaterThan", {"s3:max-keys": "10"}, {"s3:max-keys": "nine"}, False),
    ("NumericNotEquals", {"s3:max-keys": "10"}, {"s3:max-keys": "nine"}, False),
    (
        "DateLessThan",
        {"aws:CurrentTime": "2030-01-01T00:00:00Z"},
        {"aws:CurrentTime": "2026-01-01T00:00:00Z"},
        True,
    ),
    ("DateGreaterThan", {"aws:EpochTime": "1000"}, {"aws:EpochTime": "999"}, False),
    ("IpAddress", {"aws:SourceIp": "10.0.0.0/8"}, {"aws:SourceIp": "10.1.2.3"}, True),
    ("NotIpAddress", {"aws:SourceIp": "10.0.0.0/8"}, {"aws:SourceIp": "10.1.2.3"}, False),
    ("ForAnyValue:StringEquals", {"aws:TagKeys": ["a"]}, {"aws:TagKeys": ("a", "b")}, True),
    ("ForAnyValue:StringEquals", {"aws:TagKeys": ["c"]}, {"aws:TagKeys": ("a", "b")}, False),
    ("ForAnyValue:StringEquals", {"aws:TagKeys": ["a"]}, {}, False),
    ("ForAllValues:StringLike", {"aws:TagKeys": ["a*"]}, {"aws:TagKeys": ("a1", "a2")}, True),
    ("ForAllValues:StringLike", {"aws:TagKeys": ["a*"]}, {"aws:TagKeys": ("a1", "b")}, False),
    ("ForAllValues:StringLike", {"aws:TagKeys": ["a*"]}, {}, True),
    (
        "StringEquals",
        {"aws:ResourceAccount": "${aws:PrincipalAccount}"},
        {"aws:ResourceAccount": "1", "aws:PrincipalAccount": "1"},
        True,
    ),
    ("StringEquals", {"aws:ResourceAccount": "${aws:PrincipalAccount}"}, {"aws:ResourceAccount": "1"}, False),
    (
        "StringNotEquals",
        {"aws:ResourceAccount": "${aws:PrincipalAccount}"},
        {"aws:ResourceAccount": "1"},
        False,
    ),
    ("StringEquals", {"s3:prefix": "${aws:Nothing, 'home'}"}, {"s3:prefix": "home"}, True),
    ("StringEquals", {"s3:prefix": "${*}"}, {"s3:prefix": "*"}, True),
]


@pytest.mark.parametrize(("operator", "tests", "context", "is_allowed"), CONDITIONS)
def test_conditions_hold_or_do_not(
    operator: str, tests: Any, context: dict[str, Any], is_allowed: bool
) -> None:
    assert (outcome({"Condition": {operator: tests}}, context=context) == "allowed") is is_allowed


@pytest.mark.parametrize(
    ("keys", "is_allowed"),
    [
        (("project#a",), True),
        (("project#a", "project#b"), True),
        (("champion#a",), False),
        (("project#a", "champion#a"), False),
        (None, False),
    ],
)
def test_all_of_several_values_are_asked_for_only_together_with_null(
    keys: tuple[str, ...] | None, is_allowed: bool
) -> None:
    conditions = {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["project#*"]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }
    context = {"dynamodb:LeadingKeys": keys} if keys else {}
    assert (outcome({"Condition": conditions}, context=context) == "allowed") is is_allowed


def test_all_conditions_have_to_hold() -> None:
    both = {"StringEquals": {"s3:prefix": "a", "s3:delimiter": "/"}, "Bool": {"aws:SecureTransport": "true"}}
    context = {"s3:prefix": "a", "s3:delimiter": "/", "aws:SecureTransport": "true"}
    assert outcome({"Condition": both}, context=context) == "allowed"
    for name in context:
        assert outcome({"Condition": both}, context=context | {name: "x"}) == "not allowed"


def test_an_unknown_operator_is_refused_and_not_guessed() -> None:
    with pytest.raises(UnknownOperatorError):
        outcome({"Condition": {"StringResembles": {"s3:prefix": "a"}}})


def test_variables_count_after_the_fifth_colon_of_a_resource_only() -> None:
    context = {"aws:PrincipalAccount": ACCOUNT, "aws:username": "runs"}
    assert outcome({"Resource": "arn:aws:s3:::data/${aws:username}/*"}, context=context) == "allowed"
    role = f"arn:aws:iam::{ACCOUNT}:role/x"
    pattern = {"Resource": "arn:aws:iam::${aws:PrincipalAccount}:role/x"}
    assert outcome(pattern, "iam:PassRole", role, context) == "not allowed"


def test_a_value_is_no_pattern_even_if_it_holds_a_star() -> None:
    resource = {"Resource": "arn:aws:s3:::data/${aws:username}/x.json"}
    assert outcome(resource, context={"aws:username": "*"}) == "not allowed"


def test_variables_are_text_in_a_policy_of_the_old_version() -> None:
    statement = {"Resource": "arn:aws:s3:::data/${aws:username}/*"}
    assert outcome(statement, context={"aws:username": "runs"}, version="2008-10-17") == "not allowed"


def test_a_resource_policy_counts_for_the_services_that_it_names() -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "arn:aws:sqs:r:1:q",
    }
    demand = Demand("sqs:SendMessage", "arn:aws:sqs:r:1:q")
    assert decide([{"Statement": statement}], demand, service="events.amazonaws.com") == "allowed"
    assert decide([{"Statement": statement}], demand, service="sns.amazonaws.com") == "not allowed"


@pytest.mark.parametrize(
    ("principal", "effect", "is_denied"),
    [
        ("*", "Deny", True),
        ({"AWS": "*"}, "Deny", True),
        ("*", "Allow", False),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/other"}, "Deny", False),
        ({"Service": "events.amazonaws.com"}, "Deny", False),
    ],
)
def test_a_resource_policy_denies_to_everybody_what_it_denies_to_all_principals(
    principal: Any, effect: str, is_denied: bool
) -> None:
    statement = {"Effect": effect, "Principal": principal, "Action": "s3:Put*", "Resource": f"{BUCKET}/*"}
    assert denies_everybody([{"Statement": statement}], Demand("s3:PutObject", KEY)) is is_denied
    assert not denies_everybody([{"Statement": statement}], Demand("s3:GetObject", KEY))


def _decide(example: dict[str, Any], *more: dict[str, Any]) -> str:
    context = {
        name: tuple(value) if isinstance(value, list) else value for name, value in example["context"].items()
    }
    documents = [*example["documents"], *({"Version": "2012-10-17", "Statement": extra} for extra in more)]
    return decide(documents, Demand(example["action"], example["resource"], context))


@given(st.integers(0, 10**9))
def test_one_deny_of_everything_ends_every_permission(seed: int) -> None:
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    assert _decide(case(seed), deny) == "explicitly denied"


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_one_more_allow_never_takes_a_permission_away(seed: int, other: int) -> None:
    more = [
        statement
        for document in case(other)["documents"]
        for statement in document["Statement"]
        if statement["Effect"] == "Allow"
    ]
    if _decide(case(seed)) == "allowed":
        assert _decide(case(seed), *more) == "allowed"

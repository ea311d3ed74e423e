"""Policies and requests made by chance, near enough to each other that about half of them are allowed."""

from __future__ import annotations

import random
from typing import Any

ACCOUNT = "123456789012"
# Action, resources that it can be asked for, and context keys with values, as a service of AWS would give them.
ASKED: list[tuple[str, list[str], dict[str, list[Any]]]] = [
    (
        "s3:GetObject",
        ["arn:aws:s3:::data/incoming/a", "arn:aws:s3:::data/runs/7/x.json", "arn:aws:s3:::other/incoming/a"],
        {},
    ),
    ("s3:PutObject", ["arn:aws:s3:::data/runs/7/x.json", "arn:aws:s3:::data/models/m/1"], {}),
    (
        "s3:ListBucket",
        ["arn:aws:s3:::data", "arn:aws:s3:::other"],
        {"s3:prefix": ["", "incoming/p", "runs/7", "projects/${x}"], "s3:max-keys": ["1", "1000"]},
    ),
    (
        "dynamodb:PutItem",
        [
            f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/registry",
            f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/x",
        ],
        {"dynamodb:LeadingKeys": [["project#a"], ["project#b"], ["project#a", "champion#a"]]},
    ),
    (
        "iam:PassRole",
        [f"arn:aws:iam::{ACCOUNT}:role/training", f"arn:aws:iam::{ACCOUNT}:role/admin"],
        {"iam:PassedToService": ["sagemaker.amazonaws.com", "lambda.amazonaws.com"]},
    ),
    (
        "sagemaker:CreateTrainingJob",
        [f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/lehr-1"],
        {
            "sagemaker:NetworkIsolation": ["true", "false"],
            "sagemaker:MaxRuntimeInSeconds": ["60", "3600", "86400"],
            "sagemaker:InstanceTypes": [["ml.g5.xlarge"], ["ml.m5.large"], ["ml.g5.xlarge", "ml.m5.large"]],
        },
    ),
    (
        "lambda:InvokeFunction",
        [
            f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:predict",
            f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:x",
        ],
        {},
    ),
]
GLOBAL: dict[str, list[Any]] = {
    "aws:SecureTransport": ["true", "false"],
    "aws:PrincipalAccount": [ACCOUNT],
    "aws:ResourceAccount": [ACCOUNT, "999999999999"],
    "aws:SourceArn": [
        f"arn:aws:events:us-east-1:{ACCOUNT}:rule/ready",
        f"arn:aws:sns:us-east-1:{ACCOUNT}:topic",
    ],
    "aws:SourceIp": ["10.1.2.3", "192.168.0.1"],
    "aws:CurrentTime": ["2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z"],
}
STRING_OPERATORS = [
    *("StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"),
    *("StringLike", "StringNotLike"),
]
NUMERIC_OPERATORS = [
    *("NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals"),
    *("NumericGreaterThan", "NumericGreaterThanEquals"),
]
OPERATORS = {
    "s3:max-keys": NUMERIC_OPERATORS,
    "sagemaker:MaxRuntimeInSeconds": NUMERIC_OPERATORS,
    "sagemaker:NetworkIsolation": ["Bool"],
    "aws:SecureTransport": ["Bool"],
    "aws:SourceArn": ["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"],
    "aws:SourceIp": ["IpAddress", "NotIpAddress"],
    "aws:CurrentTime": ["DateLessThan", "DateGreaterThan", "DateLessThanEquals", "DateGreaterThanEquals"],
}
MULTIVALUED = ("dynamodb:LeadingKeys", "sagemaker:InstanceTypes")


def case(seed: int) -> dict[str, Any]:
    """Documents and one demand; the same for the same seed."""
    chance = random.Random(seed)
    action, resources, keys = chance.choice(ASKED)
    known = {**keys, **GLOBAL}
    context = {name: chance.choice(values) for name, values in known.items() if chance.random() < 0.7}
    documents = [
        {
            "Version": "2012-10-17",
            "Statement": [_statement(chance, action, resources, keys) for _ in range(chance.randint(1, 3))],
        }
        for _ in range(chance.randint(1, 2))
    ]
    return {
        "documents": documents,
        "action": action,
        "resource": chance.choice(resources),
        "context": context,
    }


def _statement(
    chance: random.Random, action: str, resources: list[str], keys: dict[str, list[Any]]
) -> dict[str, Any]:
    service, _, verb = action.partition(":")
    near = [
        action,
        f"{service}:*",
        "*",
        f"{service}:{verb[:3]}*",
        f"{service}:{verb[:-1]}?",
        action.swapcase(),
    ]
    far = ["logs:PutLogEvents", "sqs:SendMessage", f"{service}:List*"]
    actions = chance.sample(near, chance.randint(0, 2)) + chance.sample(far, chance.randint(0, 1))
    statement: dict[str, Any] = {"Effect": "Allow" if chance.random() < 0.8 else "Deny"}
    statement["Action" if chance.random() < 0.9 else "NotAction"] = actions or [chance.choice(near)]
    patterns = [
        *resources,
        "*",
        *(f"{arn[:-2]}*" for arn in resources),
        *(f"{arn[:-1]}?" for arn in resources),
    ]
    patterns += [arn.replace(ACCOUNT, "${aws:PrincipalAccount}") for arn in resources if ACCOUNT in arn]
    patterns += [arn.replace("us-east-1", "*") for arn in resources]
    patterns += [arn.replace("registry", "${dynamodb:Name, 'registry'}") for arn in resources]
    patterns += [arn.replace("/incoming/", "/${aws:Undefined}/") for arn in resources]
    name = "Resource" if chance.random() < 0.9 else "NotResource"
    statement[name] = chance.sample(patterns, chance.randint(1, 2))
    conditions: dict[str, Any] = {}
    for _ in range(chance.choice([0, 0, 1, 1, 2])):
        operator, key, values = _condition(chance, keys)
        conditions.setdefault(operator, {})[key] = values
    if conditions:
        statement["Condition"] = conditions
    return statement


def _condition(chance: random.Random, keys: dict[str, list[Any]]) -> tuple[str, str, Any]:
    known = {**keys, **GLOBAL}
    key = chance.choice([*keys, *GLOBAL] if chance.random() < 0.5 or not keys else list(keys))
    if chance.random() < 0.1:
        return "Null", key, chance.choice(["true", "false"])
    flat = [item for value in known[key] for item in (value if isinstance(value, list) else [value])]
    operator = chance.choice(OPERATORS.get(key, STRING_OPERATORS))
    if "Like" in operator:
        flat += [f"{text[:4]}*" for text in flat if len(text) > 4 and not text.startswith("arn:")]
    if key == "aws:SourceArn" and "Like" in operator:
        flat += [f"arn:aws:*:us-east-1:{ACCOUNT}:*"]
    if key == "aws:SourceIp":
        flat += ["10.0.0.0/8", "192.168.0.0/24"]
    if key == "aws:ResourceAccount":
        flat += ["${aws:PrincipalAccount}"]
    values = chance.sample(flat, chance.randint(1, min(2, len(flat))))
    if key in MULTIVALUED:
        operator = f"{chance.choice(['ForAnyValue', 'ForAllValues'])}:{operator}"
    if chance.random() < 0.2:
        operator += "IfExists"
    return operator, key, values if len(values) > 1 or chance.random() < 0.5 else values[0]

"""What CloudFormation will see: valid, closed, encrypted, and impossible choices refused before anything is created."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from functions.answer_approval.routes import ROUTES as OF_ANSWER_APPROVAL
from functions.predict.routes import ROUTES
from functions.start_batch.routes import ROUTES as OF_START_BATCH
from tests.template import translated
from tests.template.translated import (
    BAD_TEXT,
    EVERYTHING,
    KEY,
    OPEN,
    TEXT,
    Template,
    broken_rules,
    deployed,
    of_type,
    policies,
    routes,
    translate,
)


def lint(template: Template, folder: Path) -> list[str]:
    path = folder / "translated.json"
    path.write_text(json.dumps(template))
    linter = "import sys; from cfnlint.runner import main; sys.exit(main())"
    command = [sys.executable, "-c", linter, "--regions", translated.REGION, "--format", "json", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if result.returncode and not result.stdout.strip():
        raise RuntimeError(result.stderr)
    return [f"{finding['Rule']['Id']}: {finding['Message']}" for finding in json.loads(result.stdout or "[]")]


def test_cfn_lint_finds_nothing_in_the_translated_template(tmp_path: Path) -> None:
    assert lint(translate(TEXT), tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [{}, EVERYTHING, OPEN], ids=["default", "everything", "open"])
def test_cfn_lint_finds_nothing_once_parameters_are_put_in(
    tmp_path: Path, parameters: dict[str, str]
) -> None:
    assert lint(deployed(parameters), tmp_path) == []


def test_cfn_lint_refuses_the_bad_template(tmp_path: Path) -> None:
    assert any(finding.startswith("E") for finding in lint(translate(BAD_TEXT), tmp_path))


OPEN_ROUTES = {
    "GET /",
    "GET /docs",
    "GET /docs/{file}",
    "GET /health",
    "GET /openapi.json",
    "GET /v2/health/live",
    "GET /v2/health/ready",
}


def test_no_route_is_open_but_health_and_pages() -> None:
    closed = routes(deployed())
    assert {route for route, kind in closed.items() if kind != "AWS_IAM"} == OPEN_ROUTES
    with_tokens = deployed(EVERYTHING)
    assert {route for route, kind in routes(with_tokens).items() if kind != "JWT"} == OPEN_ROUTES
    assert all(
        "AuthorizerId" in properties
        for properties in of_type(with_tokens, "AWS::ApiGatewayV2::Route").values()
        if properties["AuthorizationType"] == "JWT"
    )
    assert set(routes(deployed(OPEN)).values()) == {"NONE"}


def test_the_open_routes_are_those_that_the_function_thinks_open() -> None:
    assert {f"{route.method} {route.path}" for route in ROUTES if route.is_open} == OPEN_ROUTES


def test_links_of_approvals_are_open_where_they_were_asked_for_and_nowhere_else() -> None:
    of_approvals = {f"{route.method} {route.path}" for route in OF_ANSWER_APPROVAL}
    assert all(route.is_open for route in OF_ANSWER_APPROVAL)
    assert not of_approvals & set(routes(deployed()))
    with_links = routes(deployed({"ApprovalLinks": "yes"}))
    assert {
        route for route in with_links if route.partition(" ")[2].startswith("/approvals/")
    } == of_approvals
    assert {with_links[route] for route in of_approvals} == {"NONE"}


def test_every_guarded_route_is_one_of_its_function_or_the_default() -> None:
    of_predict = {f"{route.method} {route.path}" for route in ROUTES}
    of_start_batch = {f"{route.method} {route.path}" for route in OF_START_BATCH}
    batches = {key for key in routes(deployed()) if "/predict/batch/" in key}
    assert batches == of_start_batch
    assert set(routes(deployed())) - batches - of_predict == {"$default"}


def test_an_open_route_is_found_in_the_bad_template() -> None:
    assert routes(deployed(text=BAD_TEXT)) == {"POST /predict": "NONE"}


@pytest.mark.parametrize(
    ("parameters", "sentences"),
    [
        ({}, []),
        (EVERYTHING, []),
        (OPEN, []),
        ({"EndpointAuth": "NONE"}, ["EndpointAuth=NONE needs IAcceptAPublicEndpoint=yes."]),
        (
            {"EndpointAuth": "JWT"},
            ["EndpointAuth=JWT needs JwtIssuer.", "EndpointAuth=JWT needs JwtAudience."],
        ),
        ({"EndpointAuth": "JWT", "JwtIssuer": "https://a.b"}, ["EndpointAuth=JWT needs JwtAudience."]),
        ({"SubnetIds": "subnet-12345678"}, ["SubnetIds needs SecurityGroupIds."]),
        ({"SecurityGroupIds": "sg-12345678"}, ["SecurityGroupIds needs SubnetIds."]),
        ({"TrainingSubnetIds": "subnet-12345678"}, ["TrainingSubnetIds needs TrainingSecurityGroupIds."]),
        ({"TrainingSecurityGroupIds": "sg-12345678"}, ["TrainingSecurityGroupIds needs TrainingSubnetIds."]),
        ({"RetrainSchedule": "rate(1 day)"}, ["RetrainSchedule needs RetrainProject."]),
    ],
)
def test_impossible_choices_are_refused_before_anything_is_created(
    parameters: dict[str, str], sentences: list[str]
) -> None:
    assert broken_rules(translate(TEXT), parameters) == sentences


def test_every_queue_is_encrypted() -> None:
    """Stands for checkov's CKV_AWS_27, which does not know SqsManagedSseEnabled."""

    def plain(template: Template) -> list[str]:
        return [
            name
            for name, properties in of_type(template, "AWS::SQS::Queue").items()
            if properties.get("SqsManagedSseEnabled") is not True and "KmsMasterKeyId" not in properties
        ]

    assert plain(deployed()) == []
    assert plain(deployed(EVERYTHING)) == []
    assert plain(deployed(text=BAD_TEXT)) == ["PlainQueue"]


def test_a_key_of_the_customer_covers_everything_that_can_take_one() -> None:
    template = deployed(EVERYTHING)
    for properties in of_type(template, "AWS::S3::Bucket").values():
        (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["BucketKeyEnabled"] is True
        assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    for kind, name in {
        "AWS::Lambda::Function": "KmsKeyArn",
        "AWS::Logs::LogGroup": "KmsKeyId",
        "AWS::SNS::Topic": "KmsMasterKeyId",
        "AWS::SQS::Queue": "KmsMasterKeyId",
    }.items():
        found = of_type(template, kind)
        assert found, kind
        assert {
            logical_id for logical_id, properties in found.items() if properties.get(name) != KEY
        } == set()
    (table,) = of_type(template, "AWS::DynamoDB::Table").values()
    assert table["SSESpecification"]["KMSMasterKeyId"] == KEY
    assert table["DeletionProtectionEnabled"] is True


def test_no_role_may_use_a_key_unless_one_is_given() -> None:
    def kms_actions(template: Template) -> bool:
        return '"kms:' in json.dumps([policies(template), of_type(template, "AWS::IAM::Role")])

    assert not kms_actions(deployed())
    assert kms_actions(deployed(EVERYTHING))


def test_every_role_that_code_runs_under_carries_the_guard() -> None:
    template = deployed()
    guarded = set(of_type(template, "AWS::IAM::ManagedPolicy")["GuardPolicy"]["Roles"])
    functions = {properties["Role"] for properties in of_type(template, "AWS::Lambda::Function").values()}
    assert {role.rpartition("/")[2] for role in functions} <= guarded


@pytest.mark.parametrize("bucket", ["databucket", "artifactbucket"])
def test_buckets_refuse_old_tls_and_other_accounts(bucket: str) -> None:
    found = {
        properties["Bucket"]: properties["PolicyDocument"]["Statement"]
        for properties in of_type(deployed(), "AWS::S3::BucketPolicy").values()
    }
    statements = {item["Sid"]: item for item in found[bucket] if item["Sid"] != "WrittenOnce"}
    assert set(statements) == {"TlsOnly", "Tls12OrLater", "ThisAccountOnly"}
    for statement in statements.values():
        assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
        assert statement["Resource"] == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    assert statements["Tls12OrLater"]["Condition"] == {"NumericLessThan": {"s3:TlsVersion": "1.2"}}
    assert statements["ThisAccountOnly"]["Condition"] == {
        "StringNotEquals": {"aws:PrincipalAccount": translated.ACCOUNT},
        "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
    }


def test_models_and_datasets_never_expire() -> None:
    buckets = of_type(deployed({"RunDataExpiryDays": "9"}), "AWS::S3::Bucket")
    rules = [rule for bucket in buckets.values() for rule in bucket["LifecycleConfiguration"]["Rules"]]
    expiring = [rule for rule in rules if "ExpirationInDays" in rule]
    assert [(rule["Prefix"], rule["ExpirationInDays"]) for rule in expiring] == [
        ("batches/", "9"),
        ("runs/", "9"),
        ("quarantine/", "9"),
        ("drift/", "9"),
        ("batches/", "9"),
    ]
    # Current versions go by those rules alone; every other rule is about uploads, markers and old versions.
    for rule in rules:
        assert not rule.keys() & {"ExpirationDate", "Transition", "Transitions"}

"""What the template has for those who run it: alarms, dashboard, schedule, parameters, and manuals that agree."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

from functions.predict import embedded_metrics
from lehr.contracts.rollback import RollbackRequest
from lehr.contracts.workflow import StartRequest
from tests.template import translated
from tests.template.translated import (
    EVERYTHING,
    KEY,
    ROOT,
    TEXT,
    broken_rules,
    deployed,
    of_type,
    policies,
    translate,
)

# What is there by the hour, used or not, among the types that such a template might name.
PAID_WHILE_IDLE = {
    "AWS::EC2::EIP",
    "AWS::EC2::Instance",
    "AWS::EC2::NatGateway",
    "AWS::EC2::VPCEndpoint",
    "AWS::EFS::FileSystem",
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWS::KMS::Key",
    "AWS::RDS::DBInstance",
    "AWS::SageMaker::Endpoint",
    "AWS::SecretsManager::Secret",
    "AWS::WAFv2::WebACL",
}


WATCHED = {"DriftCheck": "ENABLED", "CaptureRate": "1"}


def test_by_default_nothing_is_there_that_costs_money_while_idle() -> None:
    template = deployed()
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    assert not kinds & (PAID_WHILE_IDLE | {"AWS::CloudWatch::Dashboard"})
    assert len(of_type(template, "AWS::CloudWatch::Alarm")) <= 10  # the first ten of an account are free
    for properties in of_type(template, "AWS::Lambda::Function").values():
        assert "ReservedConcurrentExecutions" not in properties
        assert "ProvisionedConcurrencyConfig" not in properties
        assert properties["MemorySize"] <= 3008  # what a new account may have


def test_every_alarm_tells_the_topic_and_says_what_it_means() -> None:
    template = deployed()
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    topic = f"arn:aws:sns:{translated.REGION}:{translated.ACCOUNT}:notificationtopic"
    assert alarms
    for properties in alarms.values():
        assert properties["AlarmActions"] == [topic]
        assert properties["TreatMissingData"] == "notBreaching"
        assert properties["AlarmDescription"].endswith(".")
    assert of_type(deployed({"Alarms": "no"}), "AWS::CloudWatch::Alarm") == {}


def test_an_alarm_rings_for_the_metric_that_the_endpoint_writes_of_a_fallback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    template = deployed(EVERYTHING)
    (function,) = [
        one
        for one in of_type(template, "AWS::Lambda::Function").values()
        if one.get("Handler") == "functions.predict.app.handler"
    ]
    for name, value in function["Environment"]["Variables"].items():
        monkeypatch.setenv(name, str(value))
    embedded_metrics._frame.cache_clear()
    try:
        embedded_metrics.write_fallback()
    finally:
        embedded_metrics._frame.cache_clear()
    written = json.loads(capsys.readouterr().out)
    (metric,) = written["_aws"]["CloudWatchMetrics"]
    (dimension,) = metric["Dimensions"][0]
    (alarm,) = [
        one
        for one in of_type(template, "AWS::CloudWatch::Alarm").values()
        if one["AlarmName"].endswith("champion-fallback")
    ]
    assert (alarm["Namespace"], alarm["MetricName"]) == (metric["Namespace"], metric["Metrics"][0]["Name"])
    assert alarm["Dimensions"] == [{"Name": dimension, "Value": written[dimension]}]
    (dashboard,) = of_type(template, "AWS::CloudWatch::Dashboard").values()
    shown = [alarm["Namespace"], alarm["MetricName"], dimension, written[dimension]]
    widgets = json.loads(dashboard["DashboardBody"])["widgets"]
    assert [one for one in widgets if shown in one["properties"]["metrics"]]


def test_every_alarm_has_its_page_in_the_operations_manual() -> None:
    manual = (ROOT / "docs/operations.md").read_text()
    for properties in of_type(deployed(), "AWS::CloudWatch::Alarm").values():
        name = properties["AlarmName"].removeprefix("lehr-")
        assert f"### {name}" in manual


def test_the_topic_takes_messages_from_alarms() -> None:
    """Under SNS's own key it would not: the key's policy lets no other service in."""
    for parameters in ({}, EVERYTHING):
        template = deployed(parameters)
        (topic,) = of_type(template, "AWS::SNS::Topic").values()
        assert topic.get("KmsMasterKeyId", KEY) == KEY
        (policy,) = of_type(template, "AWS::SNS::TopicPolicy").values()
        allowed = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"]
        assert {service for s in allowed for service in s["Principal"]["Service"]} == {
            "cloudwatch.amazonaws.com",
            "budgets.amazonaws.com",
        }


def test_the_dashboard_is_a_json_document() -> None:
    (dashboard,) = of_type(deployed(EVERYTHING), "AWS::CloudWatch::Dashboard").values()
    assert len(json.loads(dashboard["DashboardBody"])["widgets"]) == 6


def test_predictions_are_captured_for_those_only_who_say_so() -> None:
    def variables(parameters: dict[str, str]) -> dict[str, str]:
        functions = of_type(deployed(parameters), "AWS::Lambda::Function").values()
        (found,) = [
            one["Environment"]["Variables"]
            for one in functions
            if one["Handler"] == "functions.predict.app.handler"
        ]
        return {name: str(value) for name, value in found.items() if name.startswith("CAPTURE_")}

    assert variables({}) == {
        "CAPTURE_RATE": "0",
        "CAPTURE_FEATURES": "false",
        "CAPTURE_COLUMNS": "false",
    }
    assert variables({"CaptureRate": "0.5", "CaptureFeatures": "true", "DriftCheck": "ENABLED"}) == {
        "CAPTURE_RATE": "0.5",
        "CAPTURE_FEATURES": "true",
        "CAPTURE_COLUMNS": "true",
    }


def test_drift_is_looked_for_only_where_somebody_says_so_and_predictions_are_captured() -> None:
    def rule(parameters: dict[str, str]) -> str:
        rules = of_type(deployed(parameters), "AWS::Events::Rule").values()
        (found,) = [one for one in rules if one.get("ScheduleExpression") == "rate(1 hour)"]
        return str(found["State"])

    assert rule({}) == "DISABLED"
    assert rule({"DriftCheck": "ENABLED", "CaptureRate": "1"}) == "ENABLED"
    assert broken_rules(translate(TEXT), {"DriftCheck": "ENABLED"}) == [
        "DriftCheck needs a CaptureRate above 0."
    ]
    assert broken_rules(translate(TEXT), {"DriftCheck": "ENABLED", "CaptureRate": "0.1"}) == []
    names = {one["AlarmName"] for one in of_type(deployed(WATCHED), "AWS::CloudWatch::Alarm").values()}
    assert names >= {"lehr-drift-found", "lehr-live-accuracy-low"}
    manual = (ROOT / "docs/operations.md").read_text()
    assert all(f"### {name.removeprefix('lehr-')}" in manual for name in names)


def test_sagemaker_hears_of_models_only_where_somebody_says_so() -> None:
    def of_sagemaker(parameters: dict[str, str]) -> set[str]:
        statements = [
            one for document in policies(deployed(parameters)).values() for one in document["Statement"]
        ]
        return {action for one in statements for action in one["Action"] if "ModelPackage" in action}

    assert of_sagemaker({}) == set()
    assert not any("Mirror" in name for name in deployed()["Resources"])
    assert "sagemaker:CreateModelPackage" in of_sagemaker({"ModelRegistryMirror": "yes"})
    rules = of_type(deployed({"ModelRegistryMirror": "yes"}), "AWS::Events::Rule").values()
    (rule,) = [one for one in rules if "mirror-registry" in str(one["Targets"])]
    machine = (ROOT / "statemachine/retrain.asl.yaml").read_text()
    told = machine + (ROOT / "functions/rollback_model/rollback.py").read_text()
    assert all(kind in told for kind in rule["EventPattern"]["detail-type"])


def test_the_schedule_sends_what_start_run_reads() -> None:
    (schedule,) = of_type(deployed(EVERYTHING), "AWS::Scheduler::Schedule").values()
    request = StartRequest.from_value(json.loads(schedule["Target"]["Input"]))
    assert request.project == "mnist"


def test_every_parameter_is_described_and_in_a_group() -> None:
    template = translate(TEXT)
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    listed = [name for group in groups for name in group["Parameters"]]
    assert sorted(listed) == sorted(template["Parameters"])
    assert all(slot["Description"] and "Default" in slot for slot in template["Parameters"].values())


def test_every_parameter_is_in_the_table_of_the_deployment_page() -> None:
    page = (ROOT / "docs/deploy.md").read_text()
    assert [name for name in translate(TEXT)["Parameters"] if f"`{name}" not in page] == []


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_parameters_of_samconfig_exist_and_go_together(environment: str) -> None:
    with (ROOT / "samconfig.toml").open("rb") as file:
        configured = tomllib.load(file)[environment]["deploy"]["parameters"]["parameter_overrides"]
    overrides = dict(item.split("=", 1) for item in configured.split())
    assert broken_rules(translate(TEXT), overrides) == []


def test_the_manual_rolls_back_with_a_request_that_rollback_model_reads() -> None:
    manual = (ROOT / "docs/operations.md").read_text()
    (payload,) = re.findall(r"--payload '(.+)'", manual)
    assert RollbackRequest.from_value(json.loads(payload)).version == "<version>"


def test_the_security_page_names_tests_that_exist() -> None:
    page = (ROOT / "docs/security.md").read_text()
    paths = set(re.findall(r"`(tests/[\w/]+\.py)`", page))
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    names = set(re.findall(r"`(test_\w+)(?:_…)?`", page))
    assert [name for name in names if f"def {name}" not in code] == []

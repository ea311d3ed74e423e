"""Reading templates and putting their resources in order."""

from __future__ import annotations

import boto3
import pytest
from moto.cloudformation.exceptions import ValidationError

from lehr_local.resource_models import fit
from lehr_local.sam_transform import expand
from lehr_local.stack_resources import dependency_order, references_of, without_nothing
from lehr_local.template_file import parse_template


def properties_of(text: str) -> dict[str, object]:
    template = parse_template(f"Resources:\n  A: {{Type: T, Properties: {{P: {text}}}}}")
    properties: dict[str, object] = template["Resources"]["A"]["Properties"]
    return properties


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!Ref B", {"Ref": "B"}),
        ("!GetAtt B.Arn", {"Fn::GetAtt": ["B", "Arn"]}),
        ("!GetAtt [B, Arn]", {"Fn::GetAtt": ["B", "Arn"]}),
        ("{'Fn::GetAtt': B.Arn}", {"Fn::GetAtt": ["B", "Arn"]}),
        ("!Sub '${B}-x'", {"Fn::Sub": "${B}-x"}),
        ("!If [C, !Ref B, !Ref 'AWS::NoValue']", {"Fn::If": ["C", {"Ref": "B"}, {"Ref": "AWS::NoValue"}]}),
        ("2012-10-17", "2012-10-17"),
        ("!Condition C", {"Condition": "C"}),
    ],
)
def test_short_tags_become_long_intrinsics_and_dates_stay_text(text: str, value: object) -> None:
    assert properties_of(text) == {"P": value}


def test_every_form_of_reference_is_found() -> None:
    node = [
        {"Ref": "A"},
        {"Fn::GetAtt": ["B", "Arn"]},
        {"Fn::Sub": "${C} ${D.Arn} ${!Literal}"},
        {"Fn::Sub": ["${own}", {"own": {"Ref": "E"}}]},
    ]
    assert references_of(node) == {"A", "B", "C", "D", "E"}


def test_resources_come_after_what_they_name() -> None:
    resources = {
        "A": {"Type": "T", "Properties": {"X": {"Ref": "B"}}},
        "B": {"Type": "T", "DependsOn": "C"},
        "C": {"Type": "T", "Properties": {"Y": {"Ref": "AWS::Region"}}},
    }
    assert dependency_order(resources) == ["C", "B", "A"]


def test_a_circle_names_those_in_it() -> None:
    circle = {
        "A": {"Type": "T", "DependsOn": ["B"]},
        "B": {"Type": "T", "DependsOn": "A"},
        "C": {"Type": "T"},
    }
    with pytest.raises(ValidationError, match=r"\[A, B\]"):
        dependency_order(circle)


def test_no_value_leaves_nothing_behind_in_lists_and_maps() -> None:
    assert without_nothing({"a": [1, None, {"b": None}], "c": None}) == {"a": [1, {}]}


def test_a_copy_of_an_expanded_template_is_the_callers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    text = "Transform: AWS::Serverless-2016-10-31\nResources: {Queue: {Type: AWS::SQS::Queue}}"
    expand(text, {})["Resources"].clear()
    assert "Queue" in expand(text, {})["Resources"]
    assert "Transform" not in expand(text, {})


def test_properties_take_the_names_and_types_of_the_call() -> None:
    client = boto3.client(
        "stepfunctions", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    assert fit(
        client,
        "CreateStateMachine",
        {
            "TracingConfiguration": {"Enabled": "true"},
            "Definition": {"StartAt": "A"},
            "NoSuchThing": 1,
        },
        name="n",
    ) == {"tracingConfiguration": {"enabled": True}, "definition": '{"StartAt": "A"}', "name": "n"}

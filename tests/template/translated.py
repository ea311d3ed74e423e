"""The template as CloudFormation would see it: SAM translated, parameters set, conditions decided, names invented.

Scanners read a raw SAM template past its roles, and an `!If` past both of its sides. Here the same translator that AWS
runs makes plain CloudFormation of it, and `resolve` replaces every intrinsic function by what it would give.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lehr_local.sam_transform import expand

Template = dict[str, Any]

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "template.yaml").read_text()
BAD_TEXT = (ROOT / "tests/template/fixtures/bad.template.yaml").read_text()

ACCOUNT, REGION = "123456789012", "eu-central-1"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "lehr",
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/lehr/51af3dc0-2e64-11f1-9c5a-0a1b2c3d4e5f",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NotificationARNs": [],
}
# A path in the working tree; `sam package` puts the object's address there.
LOCAL_URI = re.compile(r"^(\s+(?:CodeUri|ContentUri|DefinitionUri): )(?!s3:)\S+$", re.MULTILINE)
# How the ARN of a type ends, after `arn:aws:<service>:<region>:<account>:`.
ARN_TAILS = {
    "AWS::Batch::ComputeEnvironment": "batch:compute-environment/{}",
    "AWS::Batch::JobDefinition": "batch:job-definition/{}:1",
    "AWS::Batch::JobQueue": "batch:job-queue/{}",
    "AWS::CloudWatch::Alarm": "cloudwatch:alarm:{}",
    "AWS::CodeBuild::Project": "codebuild:project/{}",
    "AWS::DynamoDB::Table": "dynamodb:table/{}",
    "AWS::ECR::Repository": "ecr:repository/{}",
    "AWS::Events::Rule": "events:rule/{}",
    "AWS::KMS::Key": "kms:key/{}",
    "AWS::Lambda::Function": "lambda:function:{}",
    "AWS::Lambda::LayerVersion": "lambda:layer:{}:1",
    "AWS::Logs::LogGroup": "logs:log-group:{}:*",
    "AWS::SNS::Topic": "sns:{}",
    "AWS::SQS::Queue": "sqs:{}",
    "AWS::Scheduler::Schedule": "scheduler:schedule/default/{}",
    "AWS::StepFunctions::StateMachine": "states:stateMachine:{}",
}
# Types whose Ref is their ARN; that of the others is a name.
REF_IS_ARN = {
    "AWS::Batch::ComputeEnvironment",
    "AWS::Batch::JobDefinition",
    "AWS::Batch::JobQueue",
    "AWS::Lambda::LayerVersion",
    "AWS::SNS::Topic",
    "AWS::StepFunctions::StateMachine",
}
GLOBAL_ARNS = {
    "AWS::IAM::InstanceProfile": f"arn:aws:iam::{ACCOUNT}:instance-profile/{{}}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{}}",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
}
NAMES = ("LogGroupName", "StateMachineName")
NOTHING = object()

# Every option used, and the endpoint open: the two ends between which a deployment may be.
KEY = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
EVERYTHING = {
    "AccessLogBucket": "access-logs",
    "Alarms": "yes",
    "BatchSecurityGroupIds": "sg-12345678",
    "BatchSubnetIds": "subnet-12345678,subnet-87654321",
    "BuildTrainerImage": "yes",
    "Dashboard": "yes",
    "DeletionProtection": "yes",
    "EndpointAuth": "JWT",
    "JwtAudience": "first,second",
    "JwtIssuer": "https://issuer.example",
    "KmsKeyArn": KEY,
    "ModelRegistryMirror": "yes",
    "MonthlyBudgetUsd": "20",
    "PackageSignatures": "require",
    "NotificationEmail": "operator@example.com",
    "PredictReservedConcurrency": "5",
    "RetrainProject": "mnist",
    "RetrainSchedule": "rate(7 days)",
    "SecurityGroupIds": "sg-12345678",
    "SubnetIds": "subnet-12345678,subnet-87654321",
    "TrainerImageUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/lehr-trainer:1",
    "TrainerFunctionImageUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/lehr-trainer:1-cpu",
    "TrainingSecurityGroupIds": "sg-12345678",
    "TrainingSubnetIds": "subnet-12345678,subnet-87654321",
}
OPEN = {"EndpointAuth": "NONE", "IAcceptAPublicEndpoint": "yes"}


def translate(text: str, parameters: Mapping[str, str] | None = None) -> Template:
    """Plain CloudFormation, intrinsic functions still in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", REGION)  # the translator asks boto3 for it
        return expand(LOCAL_URI.sub(r"\1s3://packaged/object", text), parameters or {})


class Resolver:
    """Values of intrinsic functions for one template under the given parameters (defaults where none is given)."""

    def __init__(self, template: Template, parameters: Mapping[str, str] | None = None) -> None:
        self._template = template
        given = dict(parameters or {})
        declared = template.get("Parameters", {})
        unknown = given.keys() - declared.keys()
        if unknown:
            raise KeyError(f"no such parameters: {sorted(unknown)}")
        self.parameters: dict[str, Any] = {}
        for name, slot in declared.items():
            value: Any = given.get(name, slot.get("Default"))
            if "List" in slot["Type"]:
                value = value.split(",") if value else []
            self.parameters[name] = value

    def condition(self, name: str) -> bool:
        return bool(self.value(self._template["Conditions"][name]))

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [item for item in map(self.value, node) if item is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            name, argument = next(iter(node.items()))
            if name in {"Ref", "Condition"} and isinstance(argument, str):
                return self._ref(argument) if name == "Ref" else self.condition(argument)
            if name.startswith("Fn::"):
                return self._function(name.removeprefix("Fn::"), argument)
        values = {key: self.value(item) for key, item in node.items()}
        return {key: item for key, item in values.items() if item is not NOTHING}

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NOTHING
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        if self._template["Resources"][name]["Type"] in REF_IS_ARN:
            return self._attribute(name, "Arn")
        return self._name(name)

    def _name(self, name: str) -> str:
        """The name that a template gives, else the logical id in small letters."""
        properties = self._template["Resources"][name].get("Properties", {})
        own = next((properties[key] for key in NAMES if key in properties), name.lower())
        return str(self.value(own))

    def _attribute(self, name: str, attribute: str) -> str:
        kind = self._template["Resources"][name]["Type"]
        if kind == "AWS::Lambda::Version" and attribute == "Version":
            return "1"  # Lambda counts them
        if not attribute.endswith("Arn"):
            return f"{self._name(name)}-{attribute.lower()}"
        if kind in GLOBAL_ARNS:
            return GLOBAL_ARNS[kind].format(self._name(name))
        service, _, tail = ARN_TAILS.get(kind, kind.split("::")[1].lower() + ":{}").partition(":")
        return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{tail.format(self._name(name))}"

    def _substitute(self, text: str, local: Mapping[str, Any]) -> str:
        def one(match: re.Match[str]) -> str:
            name = match[1]
            if name in local:
                return str(local[name])
            resource, _, attribute = name.partition(".")
            return str(self._attribute(resource, attribute) if attribute else self._ref(name))

        return re.sub(r"\$\{([^!}][^}]*)\}", one, text).replace("${!", "${")

    def _function(self, name: str, argument: Any) -> Any:
        if name == "If":
            condition, yes, no = argument
            return self.value(yes if self.condition(condition) else no)
        if name == "Sub":
            text, local = argument if isinstance(argument, list) else (argument, {})
            return self._substitute(text, self.value(local))
        if name == "GetAtt":
            resource, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
            return self._attribute(resource, attribute)
        arguments = self.value(argument)
        if name == "Equals":
            return str(arguments[0]) == str(arguments[1])
        if name == "Not":
            return not arguments[0]
        if name == "And":
            return all(arguments)
        if name == "Or":
            return any(arguments)
        if name == "Join":
            return arguments[0].join(arguments[1])
        if name == "Select":
            return arguments[1][int(arguments[0])]
        if name == "Split":
            return arguments[1].split(arguments[0])
        if name == "Contains":
            return str(arguments[1]) in [str(item) for item in arguments[0]]
        if name == "FindInMap":
            mapping, first, second = arguments[:3]
            return self._template["Mappings"][mapping][first][second]
        raise NotImplementedError(f"Fn::{name}")


def resolve(template: Template, parameters: Mapping[str, str] | None = None) -> Template:
    """The template without functions, and without what its conditions leave out."""
    resolver = Resolver(template, parameters)
    resources = {}
    for name, resource in template["Resources"].items():
        if "Condition" in resource and not resolver.condition(resource["Condition"]):
            continue
        resources[name] = {
            key: resolver.value(item)
            for key, item in resource.items()
            if key not in {"Condition", "DependsOn", "Metadata"}
        }
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}


def deployed(parameters: Mapping[str, str] | None = None, text: str = TEXT) -> Template:
    """What these parameters make of the template."""
    return resolve(translate(text, parameters), parameters)


def of_type(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    """Properties of the resources of one type."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def broken_rules(template: Template, parameters: Mapping[str, str] | None = None) -> list[str]:
    """What CloudFormation would say to these parameters before it creates anything."""
    resolver = Resolver(template, parameters)
    return [
        assertion["AssertDescription"]
        for rule in template.get("Rules", {}).values()
        if "RuleCondition" not in rule or resolver.value(rule["RuleCondition"])
        for assertion in rule["Assertions"]
        if not resolver.value(assertion["Assert"])
    ]


def routes(resolved: Template) -> dict[str, str]:
    """How each route of the endpoint asks who is there."""
    return {
        resource["Properties"]["RouteKey"]: resource["Properties"].get("AuthorizationType", "NONE")
        for resource in resolved["Resources"].values()
        if resource["Type"] == "AWS::ApiGatewayV2::Route"
    }


def policies(resolved: Template) -> dict[str, dict[str, Any]]:
    """Every policy that a role carries, by a name that says where it stands; trust policies are not among them."""
    found = {}
    for name, resource in resolved["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::IAM::Role":
            for index, policy in enumerate(properties.get("Policies", [])):
                found[f"{name}/{index}"] = policy["PolicyDocument"]
        elif resource["Type"] in {"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}:
            found[name] = properties["PolicyDocument"]
    return found

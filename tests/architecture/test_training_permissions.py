"""The role of the state machine and the training jobs it asks for, held together: those are allowed, and no others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lehr.contracts.recipe_tables import Backend
from lehr_local.shield.policies import Document, decide
from lehr_local.shield.requests import HttpCall, classify
from tests.architecture.test_training_arguments import bindings, requested, states
from tests.template.translated import ACCOUNT, EVERYTHING, KEY, REGION, deployed, policies

__all__ = ["states"]

CREATE = "sagemaker:CreateTrainingJob"
ON_A_VOLUME = Backend(spot=False, instance_type="ml.c5.xlarge")


def role(parameters: dict[str, str]) -> list[Document]:
    return [
        document
        for name, document in policies(deployed(parameters)).items()
        if name.startswith("RetrainStateMachineRole/")
    ]


def outcome(documents: list[Document], request: dict[str, Any]) -> str:
    headers = {
        "authorization": f"Credential=KEY/20260101/{REGION}/sagemaker/aws4_request",
        "x-amz-target": "SageMaker.CreateTrainingJob",
    }
    call = classify(HttpCall("POST", "/", "", headers, json.dumps(request).encode()), ACCOUNT)
    (demand,) = [demand for demand in call.demands if demand.action == CREATE]
    return decide(documents, demand)


def request_of(states: dict[str, Any], backend: Backend, parameters: dict[str, str]) -> dict[str, Any]:
    names = ("KmsKeyArn", "TrainingSubnetIds", "TrainingSecurityGroupIds")
    return requested(states, bindings(backend), **{name: parameters.get(name, "") for name in names})


@pytest.mark.parametrize("parameters", [{}, EVERYTHING], ids=["default", "everything"])
@pytest.mark.parametrize("backend", [Backend(), ON_A_VOLUME], ids=["disks", "volume"])
def test_what_the_state_machine_asks_for_is_allowed_to_it(
    states: dict[str, Any], parameters: dict[str, str], backend: Backend
) -> None:
    assert outcome(role(parameters), request_of(states, backend, parameters)) == "allowed"


OTHER_KEY = KEY.replace("1111", "9999")
OPENINGS: dict[str, dict[str, Any]] = {
    "an open network": {"EnableNetworkIsolation": False},
    "no end": {"StoppingCondition": {"MaxRuntimeInSeconds": 432_001}},
    "outside of the subnets": {"VpcConfig": None},
    "another subnet": {"VpcConfig": {"Subnets": ["subnet-0"], "SecurityGroupIds": ["sg-12345678"]}},
    "another security group": {"VpcConfig": {"Subnets": ["subnet-12345678"], "SecurityGroupIds": ["sg-0"]}},
    "no key for outputs": {"OutputDataConfig": {"S3OutputPath": "s3://b/o"}},
    "another key for outputs": {"OutputDataConfig": {"S3OutputPath": "s3://b/o", "KmsKeyId": OTHER_KEY}},
    "another key for the volume": {
        "ResourceConfig": {"InstanceType": "ml.c5.xlarge", "VolumeKmsKeyId": OTHER_KEY}
    },
}


@pytest.mark.parametrize("change", OPENINGS.values(), ids=OPENINGS)
def test_with_a_key_and_subnets_nothing_less_closed_is_allowed(
    states: dict[str, Any], change: dict[str, Any]
) -> None:
    request = request_of(states, ON_A_VOLUME, EVERYTHING) | change
    assert outcome(role(EVERYTHING), request) == "not allowed"


def test_network_interfaces_are_for_stacks_with_subnets_only() -> None:
    def may_make_interfaces(parameters: dict[str, str]) -> bool:
        return "ec2:CreateNetworkInterface" in json.dumps(policies(deployed(parameters))["TrainingRole/0"])

    assert not may_make_interfaces({})
    assert may_make_interfaces(EVERYTHING)

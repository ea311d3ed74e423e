"""The three sources that have to agree, parsed: the template, the state machine, the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


class CloudFormationLoader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML with the short forms of CloudFormation's functions."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


CloudFormationLoader.add_multi_constructor("!", _short_form)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    with (ROOT / "template.yaml").open() as file:
        parsed: dict[str, Any] = yaml.load(file, Loader=CloudFormationLoader)
    return parsed


@pytest.fixture(scope="session")
def functions(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Properties of every function by logical id."""
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


@pytest.fixture(scope="session")
def machine_text() -> str:
    return (ROOT / "statemachine/retrain.asl.yaml").read_text()


@pytest.fixture(scope="session")
def machine(machine_text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(machine_text)
    return parsed

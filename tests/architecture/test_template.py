"""The template and the code: handlers exist, environments agree, nothing stands open."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GLOBAL_VARIABLES = {"POWERTOOLS_SERVICE_NAME"}


def test_every_function_folder_is_a_function_of_the_template(
    root: Path, functions: dict[str, dict[str, Any]]
) -> None:
    folders = {path.parent.name for path in (root / "functions").glob("*/app.py")}
    assert {properties["CodeUri"] for properties in functions.values()} == {
        f"functions/{name}/" for name in folders
    }


def test_every_handler_string_names_a_callable(functions: dict[str, dict[str, Any]]) -> None:
    for properties in functions.values():
        module, _, name = properties["Handler"].rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


def test_every_handler_string_is_the_import_path_that_the_build_makes(
    template: dict[str, Any], functions: dict[str, dict[str, Any]]
) -> None:
    for name, properties in functions.items():
        build = template["Resources"][name]["Metadata"]["BuildProperties"]
        package = properties["CodeUri"].rstrip("/").replace("/", ".")
        assert build == {"ParentPackageMode": "explicit", "ParentPackages": package}
        assert properties["Handler"] == f"{package}.app.handler"


def test_every_function_reads_exactly_the_variables_that_the_template_sets(
    functions: dict[str, dict[str, Any]],
) -> None:
    for name, properties in functions.items():
        module = importlib.import_module(properties["Handler"].rpartition(".")[0])
        assert (
            set(properties["Environment"]["Variables"]) - GLOBAL_VARIABLES == module.Settings.variables()
        ), name


def test_every_function_is_named_like_its_folder(functions: dict[str, dict[str, Any]]) -> None:
    for name, properties in functions.items():
        folder = properties["CodeUri"].split("/")[1]
        assert name == "".join(part.title() for part in folder.split("_")) + "Function"
        assert properties["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == folder


def test_importing_a_handler_needs_no_environment(functions: dict[str, dict[str, Any]], root: Path) -> None:
    modules = sorted(properties["Handler"].rpartition(".")[0] for properties in functions.values())
    script = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    environment = {"PYTHONPATH": str(root), "PATH": "", "POWERTOOLS_TRACE_DISABLED": "1"}
    command = [sys.executable, "-c", script, *modules]
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


def test_every_function_has_a_role_of_its_own_with_a_reason_for_each_statement(
    root: Path, functions: dict[str, dict[str, Any]]
) -> None:
    text = (root / "template.yaml").read_text()
    assert all("Role" not in properties and properties["Policies"] for properties in functions.values())
    allows = [line for line in text.splitlines() if "- Effect: Allow" in line]
    trusts = 1  # the trust policy of the training role speaks for itself
    assert sum("#" not in line for line in allows) == trusts


def test_a_node_of_several_is_the_same_container_as_a_node_alone(template: dict[str, Any]) -> None:
    alone, several = (
        template["Resources"][name]["Properties"]
        for name in ("BatchJobDefinition", "BatchNodesJobDefinition")
    )
    (nodes,) = several["NodeProperties"]["NodeRangeProperties"]
    assert nodes["TargetNodes"] == "0:"
    families = template["Resources"]["BatchEnvironment"]["Properties"]["ComputeResources"]["InstanceTypes"]
    assert nodes["Container"]["InstanceType"].split(".")[0] in families
    expected = alone["ContainerProperties"] | {"InstanceType": nodes["Container"]["InstanceType"]}
    assert nodes["Container"] == expected
    for member in ("Timeout", "RetryStrategy", "PropagateTags"):
        assert several[member] == alone[member]


@pytest.mark.parametrize("bucket", ["DataBucket", "ArtifactBucket"])
def test_buckets_are_private_versioned_and_kept(template: dict[str, Any], bucket: str) -> None:
    resource = template["Resources"][bucket]
    assert resource["DeletionPolicy"] == "Retain"
    assert resource["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(resource["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}

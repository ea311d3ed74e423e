"""The project's own template, built by the SAM CLI, deployed by it twice into a whole local cloud, and deleted."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.local_cloud.test_control import ANY_PORTS, client, lehr_local
from tests.template.conftest import ROOT, SAM, find_python313, run_sam, sam_environment

__all__ = ["sam_environment"]

SOURCES = ("template.yaml", "samconfig.toml", "functions", "layers", "trainer_image", "statemachine")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SAM.exists(), reason="the SAM CLI is not installed"),
    pytest.mark.skipif(find_python313() is None, reason="sam build for python3.13 needs that interpreter"),
]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[dict[str, Any]]:
    state = tmp_path / "state"
    done = lehr_local("up", "--state", str(state), "--json", *ANY_PORTS)
    assert done.returncode == 0, done.stderr
    yield {**json.loads(done.stdout), "state": state}
    lehr_local("down", "--state", str(state))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what is built, so that it can be changed."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder)
    return folder


def sam(project: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    done = run_sam(*arguments, cwd=project, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


# One of the two is not this machine's: its wheels cannot be loaded here.
@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_sam_deploys_the_project_twice_and_deletes_it(
    cloud: dict[str, Any], project: Path, sam_environment: dict[str, str], architecture: str
) -> None:
    environment = sam_environment | {
        "AWS_ENDPOINT_URL": cloud["endpoint_url"],
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local-secret",
    }
    overrides = ("--parameter-overrides", f"ParameterKey=Architecture,ParameterValue={architecture}")
    functions, states = client(cloud, "lambda"), client(cloud, "stepfunctions")

    sam(project, environment, "build", *overrides)
    sam(project, environment, "deploy", *overrides)
    (stack,) = client(cloud, "cloudformation").describe_stacks(StackName="lehr")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    names = [item["FunctionName"] for item in functions.list_functions()["Functions"]]
    (predict,) = [name for name in names if "predictfunction" in name.lower()]
    digests = {name: digest(functions, name) for name in names}
    (machine,) = [item for item in states.list_state_machines()["stateMachines"] if "retrain" in item["name"]]
    definition = states.describe_state_machine(stateMachineArn=machine["stateMachineArn"])["definition"]

    # The function that imports numpy and onnxruntime answers, whatever its layer was built for.
    event = {
        "version": "2.0",
        "routeKey": "GET /docs",
        "rawPath": "/docs",
        "rawQueryString": "",
        "headers": {},
        "requestContext": {"http": {"method": "GET", "path": "/docs"}, "stage": "$default"},
        "isBase64Encoded": False,
    }
    answer = functions.invoke(FunctionName=predict, Payload=json.dumps(event).encode())
    body = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    is_foreign = architecture != {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
    log = (cloud["state"] / "cloud.log").read_text()
    assert ("are built for another platform" in log) or not is_foreign

    handler = project / "functions/judge_model/app.py"
    handler.write_text(handler.read_text() + "\n# changed\n")
    asl = project / "statemachine/retrain.asl.yaml"
    asl.write_text(asl.read_text() + "\nComment: changed\n")
    sam(project, environment, "build", *overrides)
    sam(project, environment, "deploy", *overrides)
    (stack,) = client(cloud, "cloudformation").describe_stacks(StackName="lehr")["Stacks"]
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    changed = {name for name in names if digest(functions, name) != digests[name]}
    assert [name for name in changed if "judge" in name.lower()]
    assert predict not in changed
    assert (
        definition != states.describe_state_machine(stateMachineArn=machine["stateMachineArn"])["definition"]
    )

    sam(project, environment, "delete", "--stack-name", "lehr", "--no-prompts")
    with pytest.raises(ClientError, match="does not exist"):
        client(cloud, "cloudformation").describe_stacks(StackName="lehr")
    assert functions.list_functions()["Functions"] == []


def digest(functions: Any, name: str) -> str:
    return str(functions.get_function_configuration(FunctionName=name)["CodeSha256"])

"""A process that predicts and lists the models, from the import to the answers, needs no SDK and no validator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from lehr import layout
from tests import tiny_models
from tests.integration.predict.aws_stand_in import aws_stand_in

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, sys
from types import SimpleNamespace
from functions.predict import app
event = json.loads(sys.stdin.read())
context = SimpleNamespace(function_name="predict", memory_limit_in_mb=1769, aws_request_id="r",
                          invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:predict")
answer = app.handler(event, context)
xml = [name for name in sys.modules if name.startswith(("xml", "pyexpat"))]
models = app.handler({**event, "rawPath": "/models", "requestContext": {"http": {"method": "GET"}}}, context)
absent = {"boto3", "botocore", "urllib3", "requests", "pydantic", "aws_xray_sdk", "onnx", "torch"}
# Powertools imports the bare package botocore to tell it its name; no module of it.
found = [name for name in sys.modules if name.partition(".")[0] in absent and name != "botocore"]
print("RESULT" + json.dumps([json.loads(answer["body"]), json.loads(models["body"]), found, xml]))
"""


def test_predicting_and_listing_import_neither_boto3_nor_a_validator() -> None:
    with aws_stand_in() as aws:
        version = tiny_models.publish(aws.store, "mnist", tiny_models.files(1))
        aws.store.put(layout.project_head_key("mnist"), b"{}")
        aws.registry.promote("mnist", version, run="r1", generation=0)
        event = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/predict/mnist",
            "rawQueryString": "",
            "headers": {"content-type": "application/json"},
            "requestContext": {
                "stage": "$default",
                "http": {"method": "POST", "path": "/predict/mnist", "sourceIp": "127.0.0.1"},
            },
            "body": json.dumps({"inputs": [[0] * 28] * 28}),
            "isBase64Encoded": False,
        }
        environment = aws.environment() | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "ARTIFACT_BUCKET": "artifacts",
            "REGISTRY_TABLE": "table",
            "POWERTOOLS_METRICS_NAMESPACE": "Lehr",
            "POWERTOOLS_SERVICE_NAME": "predict",
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            input=json.dumps(event),
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    answered, listed, imported, xml = json.loads(line.removeprefix("RESULT"))
    assert answered["model_version"] == version
    assert [model["model_version"] for model in listed["models"]] == [version]
    assert (imported, xml) == ([], [])


def test_a_process_that_is_initialised_for_a_snapshot_loads_its_champions_and_registers_a_hook() -> None:
    program = (
        "from functions.predict import app; import snapshot_restore_py as hooks; "
        "registered = hooks._after_restore_registry; "
        "print('RESULT', len(registered), app.champions().get('mnist').model.version); "
        "registered[0][0]()"
    )
    with aws_stand_in() as aws:
        version = tiny_models.publish(aws.store, "mnist", tiny_models.files(1))
        aws.registry.promote("mnist", version, run="r1", generation=0)
        environment = aws.environment() | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "ARTIFACT_BUCKET": "artifacts",
            "REGISTRY_TABLE": "table",
            "WARM_PROJECTS": "mnist",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
            "POWERTOOLS_SERVICE_NAME": "predict",
        }
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120
        )
        reads = sum(method == "POST" for method, _, _ in aws.requests)
    assert done.returncode == 0, done.stderr
    assert f"RESULT 1 {version}" in done.stdout
    assert reads == 2  # in the initialisation, and after the restore

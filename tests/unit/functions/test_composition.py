"""Handlers are imported without an environment, and their dependencies are built from it on first use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from functions.evaluate_shard import app as evaluate_shard
from functions.predict import app as predict
from functions.predict_batch_unit import app as predict_batch_unit
from functions.prepare_shard import app as prepare_shard
from functions.seal_batch import app as seal_batch
from functions.start_batch import app as start_batch
from lehr.errors import ConfigurationError

ROOTS = [
    prepare_shard.stores,
    evaluate_shard.dependencies,
    predict.readers,
    start_batch.starter,
    predict_batch_unit.dependencies,
    seal_batch.artifacts,
]
VARIABLES = ("DATA_BUCKET", "ARTIFACT_BUCKET", "REGISTRY_TABLE", "STATE_MACHINE_ARN")


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.__module__)
def test_dependencies_are_built_from_the_environment(root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, name.lower().replace("_", "-"))
    root.cache_clear()
    try:
        assert root() is root()
    finally:
        root.cache_clear()


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.__module__)
def test_an_environment_that_lacks_a_variable_is_named(root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    root.cache_clear()
    with pytest.raises(ConfigurationError, match="ARTIFACT_BUCKET is not set"):
        root()


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("prepare_shard", ["boto3", "onnxruntime", "pydantic", "torch"]),
        ("evaluate_shard", ["boto3", "pydantic", "torch"]),
        ("start_batch", ["boto3", "botocore.session", "numpy", "pydantic"]),
        # The endpoint's cold start is mostly imports: botocore and what brings it along come later or not at all.
        (
            "predict",
            [
                "boto3",
                "botocore.exceptions",
                "urllib3",
                "aws_xray_sdk",
                "pydantic",
                "torch",
                "functions.predict.capture",
            ],
        ),
    ],
)
def test_importing_a_handler_needs_no_environment_and_little_else(name: str, absent: list[str]) -> None:
    program = f"import sys, functions.{name}.app; print([m for m in {absent} if m in sys.modules])"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")

"""The description of the API is made from the route tables, is valid, and says what the endpoint really answers."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from functions.predict.routes import ROUTES as OF_PREDICT
from functions.start_batch.routes import ROUTES as OF_START_BATCH
from lehr.http.routes import Route


@pytest.fixture(scope="module")
def document(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "functions/predict/openapi.json").read_text())
    return found


def is_up_to_date(root: Path) -> bool:
    command = [sys.executable, "docs/generate_openapi.py", "--check"]
    return subprocess.run(command, cwd=root, timeout=60, capture_output=True).returncode == 0


def test_the_description_is_up_to_date(root: Path) -> None:
    assert is_up_to_date(root), "run: python docs/generate_openapi.py"


def test_a_description_that_was_edited_is_noticed(root: Path, tmp_path: Path) -> None:
    for folder in ("docs/generate_openapi.py", "functions/predict", "functions/start_batch"):
        source, target = root / folder, tmp_path / folder
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            target.parent.mkdir(parents=True)
            shutil.copy(source, target)
    shutil.copy(root / "functions/__init__.py", tmp_path / "functions")
    assert is_up_to_date(tmp_path)
    description = tmp_path / "functions/predict/openapi.json"
    description.write_text(description.read_text().replace("Server ready", "Server idle"))
    assert not is_up_to_date(tmp_path)


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    validate(document)


def test_every_route_is_described_and_open_as_it_is(document: dict[str, Any]) -> None:
    described = {
        (method.upper(), path): operation.get("security") == []
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    routes: tuple[Route[Any], ...] = (*OF_PREDICT, *OF_START_BATCH)
    assert described == {(route.method, route.path): route.is_open for route in routes}


def test_swagger_ui_is_what_was_published_and_other_bytes_are_noticed(root: Path, tmp_path: Path) -> None:
    def is_published(at: Path) -> bool:
        command = [sys.executable, "docs/fetch_swagger_ui.py", "--check"]
        return subprocess.run(command, cwd=at, timeout=60, capture_output=True).returncode == 0

    assert is_published(root)
    for folder in ("docs", "functions/predict/static"):
        shutil.copytree(root / folder, tmp_path / folder)
    assert is_published(tmp_path)
    (script,) = (tmp_path / "functions/predict/static").glob("swagger-ui-*.js.gz")
    script.write_bytes(gzip.compress(gzip.decompress(script.read_bytes()) + b" "))
    assert not is_published(tmp_path)

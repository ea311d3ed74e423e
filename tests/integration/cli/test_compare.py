"""`lehr compare` against a stack of moto's: runs, versions and the champion are found, and a page is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lehr import layout
from lehr.contracts.registry import ModelRecord
from tests.integration.cli.calls import documents, run
from tests.integration.cli.test_commands_against_a_stack import EXAMPLE, record


@pytest.fixture
def two(stack: Any) -> Any:
    run("push", str(EXAMPLE))
    for name, accuracy in (("aaa", 0.97), ("bbb", 0.98)):
        stack.registry.add_run(record(name, status="promoted", model_version=f"model-{name}"))
        stack.registry.add_model(
            ModelRecord(
                project="mnist",
                version=f"model-{name}",
                run=name,
                dataset_version="d",
                created_at="",
                package_sha256="",
            )
        )
        body = json.dumps({"candidate": {"accuracy": accuracy}}).encode()
        key = layout.evaluation_report_key("mnist", name)
        stack.s3.put_object(Bucket=stack.artifacts, Key=key, Body=body)
    stack.registry.promote("mnist", "model-bbb", run="bbb", generation=0)
    return stack


@pytest.mark.parametrize("names", [("aaa", "bbb"), ("aaa", "champion"), ("model-aaa", "model-bbb")])
def test_runs_versions_and_the_champion_are_compared(two: Any, names: tuple[str, str]) -> None:
    (found,) = documents(run("compare", *names, "--json"))
    assert (found["a"], found["b"]) == ("mnist/aaa", "mnist/bbb")
    (test,) = [section for section in found["sections"] if section["title"] == "Test"]
    assert test["rows"] == [
        {"name": "accuracy", "a": "0.97", "b": "0.98", "difference": "+0.01", "better": "b"}
    ]


def test_a_page_is_written_beside(two: Any, tmp_path: Path) -> None:
    result = run("compare", "champion", "aaa", "--html", "two.html")
    assert result.exit_code == 0, result.stderr
    assert "mnist/bbb" in (tmp_path / "two.html").read_text()


def test_what_is_not_there_is_told(two: Any) -> None:
    assert "neither a run nor a project 'nothing'" in run("compare", "aaa", "nothing").stderr
    assert run("compare", "champion", "champion").exit_code == 2

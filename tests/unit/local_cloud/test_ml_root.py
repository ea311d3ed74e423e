"""`/opt/ml` in commands and environments of jobs becomes the job's own folder, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from lehr_local.ml_root import relocate, relocate_command

BASE = Path("/state/jobs/a\\1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/opt/ml", f"{BASE}"),
        ("/opt/ml/model", f"{BASE}/model"),
        ("cp /opt/ml/a /opt/ml/b; ls", f"cp {BASE}/a {BASE}/b; ls"),
        ("/opt/mlflow", "/opt/mlflow"),
        ("/opt/ml-2", "/opt/ml-2"),
        ("s3://bucket/key", "s3://bucket/key"),
    ],
)
def test_the_whole_name_of_the_folder_is_replaced(text: str, expected: str) -> None:
    assert relocate(text, BASE) == expected


@pytest.mark.parametrize(
    ("command", "program"), [("python", "/py"), ("/usr/bin/python3", "/py"), ("bash", "bash")]
)
def test_python_is_the_interpreter_of_this_machine(command: str, program: str) -> None:
    found = relocate_command([command, "-m", "python", "/opt/ml"], BASE, Path("/py"))
    assert found == [program, "-m", "python", str(BASE)]

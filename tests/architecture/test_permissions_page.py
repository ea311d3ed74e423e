"""docs/permissions.md says what the template says, and the template says why."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def generator(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generate_permissions", root / "docs/generate_permissions.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def is_up_to_date(root: Path) -> bool:
    command = [sys.executable, "docs/generate_permissions.py", "--check"]
    return subprocess.run(command, cwd=root, timeout=60).returncode == 0


def test_the_page_is_what_the_template_says(root: Path) -> None:
    assert is_up_to_date(root), "run: python docs/generate_permissions.py"


def test_a_changed_template_is_noticed(root: Path, tmp_path: Path) -> None:
    """Negative control."""
    for name in ("docs/generate_permissions.py", "docs/permissions.md", "template.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    assert is_up_to_date(tmp_path)
    template = (tmp_path / "template.yaml").read_text()
    changed = template.replace("Action: [s3:PutObject]", "Action: [s3:PutObject, s3:PutObjectAcl]", 1)
    assert changed != template
    (tmp_path / "template.yaml").write_text(changed)
    assert not is_up_to_date(tmp_path)


def test_every_permission_says_why_it_is_there(root: Path, generator: ModuleType) -> None:
    found = generator.statements((root / "template.yaml").read_text())
    given = [item for item in found if item.effect == "Allow" and item.actions != ["sts:AssumeRole"]]
    assert len(given) > 40
    assert [f"{item.owner}: {item.actions}" for item in given if not item.reason] == []


def test_a_statement_is_given_the_comment_that_stands_beside_it(generator: ModuleType) -> None:
    template = """
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyDocument:
            Statement:
              - Effect: Allow # the first
                Action: s3:GetObject
                Resource: !Sub ${Bucket.Arn}/a/*
              - !If
                - HasBatch
                - Effect: Deny
                  Action: [batch:SubmitJob]
                  Resource: "*"
                - !Ref AWS::NoValue
"""
    first, second = generator.statements(template)
    assert (first.owner, first.resources, first.reason) == ("Role", ["Bucket/a/*"], "the first")
    assert (second.effect, second.only_if, second.reason) == ("Deny", "HasBatch", "")

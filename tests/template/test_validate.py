"""`sam validate` runs the translator, `--lint` runs cfn-lint: each finds what the other does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.template.conftest import ROOT, run_sam


@pytest.mark.parametrize("options", [[], ["--lint"]])
def test_the_template_is_valid(sam_environment: dict[str, str], options: list[str]) -> None:
    result = run_sam("validate", *options, cwd=ROOT, environment=sam_environment)
    assert result.returncode == 0, result.stdout + result.stderr


# Of the template's kind and a hundredth of its length, for seconds of cfn-lint.
SMALL = """
Transform: AWS::Serverless-2016-10-31
Resources:
  TriggerQueue:
    Type: AWS::SQS::Queue
  PredictFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/predict/
      Handler: app.handler
      Runtime: python3.13
      Environment:
        Variables:
          QUEUE: !GetAtt TriggerQueue.Arn
"""


@pytest.mark.parametrize(
    ("options", "old", "new"),
    [
        ([], "CodeUri: functions/predict/", "CodeUris: functions/predict/"),
        (["--lint"], "!GetAtt TriggerQueue.Arn", "!GetAtt NoSuchQueue.Arn"),
    ],
)
def test_each_check_refuses_a_template_with_a_fault_of_its_kind(
    sam_environment: dict[str, str], tmp_path: Path, options: list[str], old: str, new: str
) -> None:
    for text, is_valid in ((SMALL, True), (SMALL.replace(old, new, 1), False)):
        (tmp_path / "template.yaml").write_text(text)
        result = run_sam("validate", *options, cwd=tmp_path, environment=sam_environment)
        assert (result.returncode == 0) is is_valid, result.stdout + result.stderr

"""checkov and parliament over the translated template, in an environment of their own (`make check-template`).

Both run offline. Each gate is also shown a template that it has to refuse, so that a scanner that has stopped to look
does not pass for a template without faults.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.template.translated import BAD_TEXT, EVERYTHING, ROOT, Template, deployed, policies

BIN = ROOT / ".venv-checkov/bin"
CONFIG = ROOT / ".checkov.yaml"
MOST_EXCEPTIONS = 8
FALSE_ALARMS = {"CKV_AWS_27"}  # replaced by test_every_queue_is_encrypted
# What is left when nothing is saved on: reserved concurrency and queues for functions that somebody waits for.
EXCEPTIONS_WITH_EVERYTHING = {"CKV_AWS_115", "CKV_AWS_116"}

# Findings that come from parliament's data and not from a policy: (issue, action) and why.
DATA_QUIRKS = {
    ("RESOURCE_MISMATCH", "states:DescribeExecution"): "knows executions of express workflows only",
    ("RESOURCE_MISMATCH", "batch:SubmitJob"): "asks for job/* beside the queue and the definition",
    # https://github.com/aws/aws-cdk/pull/8486, where it was tried; and a denial names the machine:
    # https://github.com/NOAA-OWP/hydrovis/issues/837
    ("RESOURCE_MISMATCH", "states:SendTaskSuccess"): "asks for *, where IAM judges by the state machine",
    ("UNKNOWN_CONDITION_FOR_ACTION", "lambda:SourceFunctionArn"): "Lambda sets the key for every service",
}

ANALYSE = """
import json, sys
import parliament
findings = []
for name, document in json.load(sys.stdin).items():
    for finding in parliament.analyze_policy_string(json.dumps(document)).findings:
        finding = parliament.enhance_finding(finding)
        detail = finding.detail if isinstance(finding.detail, str) else json.dumps(finding.detail)
        findings.append([name, finding.severity, finding.issue, detail])
print(json.dumps(findings))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def scanners() -> None:
    if not (BIN / "checkov").exists():
        pytest.fail("checkov is missing: run `make check-template`")


def checkov(template: Template, folder: Path, *options: str) -> set[str]:
    """Names of the failed checks. Raises RuntimeError if the scan looked at nothing."""
    path = folder / "template.json"
    path.write_text(json.dumps(template))
    command = [str(BIN / "checkov"), "-f", str(path), "-o", "json", *options]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    report = json.loads(result.stdout)
    summary = report.get("summary", {})
    if not summary.get("resource_count") or summary.get("parsing_errors"):
        raise RuntimeError(result.stdout + result.stderr)
    return {check["check_id"] for check in report["results"]["failed_checks"]}


def parliament(template: Template) -> list[str]:
    """What parliament says, the quirks of its data left out. It ranks an unknown action LOW, so all ranks count."""
    command = [str(BIN / "python"), "-c", ANALYSE]
    documents = json.dumps(policies(template))
    result = subprocess.run(command, input=documents, capture_output=True, text=True, timeout=120)
    if result.returncode:
        raise RuntimeError(result.stderr)
    return [
        f"{policy}: {severity} {issue} {detail}"
        for policy, severity, issue, detail in json.loads(result.stdout)
        if not any(issue == quirk and word in detail for quirk, word in DATA_QUIRKS)
    ]


def exceptions() -> dict[str, str]:
    """Check and reason, as .checkov.yaml has them."""
    found = re.findall(r"^  - (CKV_\w+)(?: # (.+))?$", CONFIG.read_text(), re.MULTILINE)
    return dict(found)


def test_every_exception_has_a_reason_and_there_are_few() -> None:
    counted = {check: reason for check, reason in exceptions().items() if check not in FALSE_ALARMS}
    assert 0 < len(counted) <= MOST_EXCEPTIONS
    assert all(len(reason) > 20 for reason in counted.values())
    assert counted.keys() >= EXCEPTIONS_WITH_EVERYTHING


def test_checkov_finds_nothing_but_the_exceptions(tmp_path: Path) -> None:
    assert checkov(deployed(), tmp_path, "--config-file", str(CONFIG)) == set()


def test_no_exception_is_left_over(tmp_path: Path) -> None:
    """An exception for what no longer fails would hide the next fault of its kind."""
    failed = checkov(deployed(), tmp_path, "--framework", "cloudformation", "--skip-download")
    assert failed == exceptions().keys()


def test_with_key_subnets_and_access_log_two_exceptions_are_enough(tmp_path: Path) -> None:
    template = deployed(EVERYTHING)
    failed = checkov(template, tmp_path, "--framework", "cloudformation", "--skip-download")
    assert failed == EXCEPTIONS_WITH_EVERYTHING


def test_checkov_refuses_the_bad_template(tmp_path: Path) -> None:
    failed = checkov(deployed(text=BAD_TEXT), tmp_path, "--config-file", str(CONFIG))
    assert failed & {"CKV_AWS_108", "CKV_AWS_109", "CKV_AWS_111"}


@pytest.mark.parametrize("parameters", [{}, EVERYTHING], ids=["default", "everything"])
def test_parliament_finds_nothing_in_any_policy_of_any_role(parameters: dict[str, str]) -> None:
    template = deployed(parameters)
    assert len(policies(template)) > 10
    assert parliament(template) == []


def test_parliament_refuses_the_bad_template() -> None:
    findings = " ".join(parliament(deployed(text=BAD_TEXT)))
    assert "UNKNOWN_ACTION" in findings
    assert "RESOURCE_MISMATCH" in findings

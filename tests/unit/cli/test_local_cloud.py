"""The local cloud is only ever called as a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lehr_cli.failures import LocalCloudError
from lehr_cli.local_cloud import Finished, LocalCloud

INFO = {"running": True, "endpoint_url": "http://localhost:4710", "port": 4710, "region": "us-east-1"}


class Recorder:
    """A runner that answers what it is told and keeps what it was asked."""

    def __init__(self, code: int = 0, stdout: str = "", stderr: str = "") -> None:
        self.answer = Finished(code=code, stdout=stdout, stderr=stderr)
        self.calls: list[list[str]] = []

    def __call__(self, arguments: Sequence[str], folder: Path) -> Finished:
        self.calls.append(list(arguments))
        return self.answer


def test_up_passes_the_folder_and_the_ports(tmp_path: Path) -> None:
    runner = Recorder(stdout=json.dumps(INFO))
    assert LocalCloud(tmp_path, runner).up(port=1, https_port=2) == INFO
    state = str(tmp_path / ".lehr")
    expected = ["up", "--state", state, "--port", "1", "--https-port", "2", "--json"]
    assert runner.calls == [[sys.executable, "-m", "lehr_local", *expected]]


def test_up_asks_for_the_permissions_of_roles_when_told_to(tmp_path: Path) -> None:
    runner = Recorder(stdout=json.dumps(INFO))
    LocalCloud(tmp_path, runner).up(enforce_iam=True)
    assert runner.calls[0][-2:] == ["--enforce-iam", "--json"]


def test_a_port_that_is_taken_is_told_in_its_own_words(tmp_path: Path) -> None:
    runner = Recorder(code=2, stderr="error: Port 4710 is taken; choose another with --port.\n")
    with pytest.raises(LocalCloudError, match=r"^Port 4710 is taken; choose another with --port\.$"):
        LocalCloud(tmp_path, runner).up()


def test_a_missing_package_is_told_with_its_cure(tmp_path: Path) -> None:
    runner = Recorder(code=1, stderr="Traceback …\nModuleNotFoundError: No module named 'moto'\n")
    with pytest.raises(LocalCloudError) as raised:
        LocalCloud(tmp_path, runner).up()
    assert raised.value.message.endswith("not installed: 'moto'")
    assert "pip install" in raised.value.hint


def test_status_is_none_when_nothing_runs(tmp_path: Path) -> None:
    assert LocalCloud(tmp_path, Recorder(code=3, stdout='{"running": false}')).status() is None


def test_the_document_is_the_last_line(tmp_path: Path) -> None:
    runner = Recorder(stdout="a library says something\n" + json.dumps(INFO))
    assert LocalCloud(tmp_path, runner).status() == INFO


def test_an_answer_that_is_no_json_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocalCloudError, match="not JSON"):
        LocalCloud(tmp_path, Recorder(stdout="ready")).status()


def test_deploying_needs_a_template(tmp_path: Path) -> None:
    runner = Recorder()
    with pytest.raises(LocalCloudError, match=r"there is no template\.yaml"):
        LocalCloud(tmp_path, runner).deploy(INFO, "lehr")
    assert runner.calls == []


def test_deploying_gives_the_outputs(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text("Resources: {}")
    runner = Recorder(stdout='{"DataBucket": "d"}')
    assert LocalCloud(tmp_path, runner).deploy(INFO, "mine") == {"DataBucket": "d"}
    called = runner.calls[0]
    assert called[1:3] == ["-m", "lehr_local.deploy"]
    assert called[called.index("--stack") + 1] == "mine"
    assert called[called.index("--endpoint-url") + 1] == "http://localhost:4710"


def test_deploying_passes_parameters(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text("Resources: {}")
    runner = Recorder(stdout="{}")
    LocalCloud(tmp_path, runner).deploy(INFO, "mine", ["CaptureRate=1", "Alarms=no"])
    expected = ["--parameter", "CaptureRate=1", "--parameter", "Alarms=no", "--json"]
    assert runner.calls[0][-len(expected) :] == expected


def test_down_says_whether_there_was_one(tmp_path: Path) -> None:
    assert LocalCloud(tmp_path, Recorder(stdout='{"was_running": false}')).down() is False

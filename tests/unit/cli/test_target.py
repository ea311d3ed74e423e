"""Which cloud a command talks to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lehr_cli import target
from lehr_cli.failures import CommandError
from lehr_cli.target import choose_target, running_local_cloud

INFO: dict[str, Any] = {
    "pid": os.getpid(),
    "endpoint_url": "http://localhost:4710",
    "port": 4710,
    "https_port": 4743,
    "ca_file": "/somewhere/ca.pem",
    "region": "us-east-1",
}


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "running_local_cloud", lambda folder: INFO)


@pytest.fixture
def nothing_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "running_local_cloud", lambda folder: None)


@pytest.mark.usefixtures("local")
def test_a_running_local_cloud_is_chosen_with_its_own_keys() -> None:
    chosen = choose_target(is_aws=False, region="eu-west-1", environ={})
    assert chosen.is_local
    assert chosen.describe() == "local cloud at http://localhost:4710"
    assert chosen.region == "us-east-1"
    assert chosen.session.get_credentials().access_key == "local"
    assert chosen.ca_file == Path("/somewhere/ca.pem")
    assert chosen.poll_s == 0.3


@pytest.mark.usefixtures("local")
def test_aws_can_be_asked_for_beside_a_local_cloud() -> None:
    chosen = choose_target(is_aws=True, region="eu-west-1", environ={})
    assert not chosen.is_local
    assert (chosen.endpoint_url, chosen.region, chosen.poll_s) == (None, "eu-west-1", 2.0)


@pytest.mark.usefixtures("local")
def test_the_variable_that_names_the_local_cloud_means_the_local_cloud() -> None:
    environ = {"AWS_ENDPOINT_URL": "http://localhost:4710"}
    assert choose_target(is_aws=False, region=None, environ=environ).is_local


@pytest.mark.usefixtures("local")
def test_the_variable_comes_before_the_local_cloud_of_the_folder() -> None:
    environ = {"AWS_ENDPOINT_URL": "http://localhost:9999"}
    chosen = choose_target(is_aws=False, region=None, environ=environ)
    assert not chosen.is_local
    assert chosen.describe() == "cloud at http://localhost:9999 (AWS_ENDPOINT_URL)"


@pytest.mark.usefixtures("nothing_local")
def test_asking_for_aws_and_naming_an_endpoint_contradict_each_other() -> None:
    with pytest.raises(CommandError, match="AWS_ENDPOINT_URL is set"):
        choose_target(is_aws=True, region=None, environ={"AWS_ENDPOINT_URL": "http://localhost:1"})


@pytest.mark.usefixtures("nothing_local")
def test_without_a_region_both_ways_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with pytest.raises(CommandError) as raised:
        choose_target(is_aws=False, region=None, environ={})
    assert "lehr local up" in raised.value.hint
    assert "--region" in raised.value.hint


@pytest.mark.usefixtures("nothing_local")
def test_the_region_is_the_option_s_then_aws_region_s_then_the_one_that_boto3_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    environ = {"AWS_REGION": "eu-west-1"}
    assert choose_target(is_aws=True, region="ca-central-1", environ=environ).region == "ca-central-1"
    assert choose_target(is_aws=True, region=None, environ=environ).region == "eu-west-1"
    assert choose_target(is_aws=True, region=None, environ={}).region == "us-west-2"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"pid": 1}', '{"pid": 99999999, "port": 1}', '{"pid": "x"}']
)
def test_a_stale_or_broken_info_file_is_no_local_cloud(tmp_path: Path, content: str) -> None:
    (tmp_path / ".lehr").mkdir()
    (tmp_path / ".lehr" / "local.json").write_text(content)
    assert running_local_cloud(tmp_path) is None


def test_a_folder_without_one_has_no_local_cloud(tmp_path: Path) -> None:
    assert running_local_cloud(tmp_path) is None


def test_a_living_process_that_does_not_listen_is_no_local_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lehr").mkdir()
    (tmp_path / ".lehr" / "local.json").write_text(json.dumps(INFO))

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", refuse)
    assert running_local_cloud(tmp_path) is None

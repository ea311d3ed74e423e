"""The log of JSON lines: one line each, with the names that Powertools' lines have."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from lehr.json_log import JsonLog


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_has_the_names_that_powertools_gives_it(capsys: pytest.CaptureFixture[str]) -> None:
    for log in (JsonLog("predict"), Logger(service="predict")):
        log.info("loaded", extra={"project": "mnist", "bytes": 7})
        try:
            raise ValueError("no\nsuch")
        except ValueError:
            log.exception("failed", extra={"project": "mnist"})
    lines = written(capsys)
    own, theirs = lines[:2], lines[2:]
    for ours, powertools in zip(own, theirs, strict=True):
        assert set(ours) <= set(powertools)
        for name in ("level", "message", "service", "project", "exception_name"):
            assert ours.get(name) == powertools.get(name)
    assert "ValueError: no\nsuch" in own[1]["exception"]
    assert "test_json_log.py" in own[1]["exception"]


def test_what_json_cannot_hold_is_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    JsonLog("predict").warning("odd", extra={"what": logging})
    (line,) = written(capsys)
    assert (line["level"], line["what"]) == ("WARNING", str(logging))


def test_the_service_is_the_environment_s(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "predict")
    JsonLog().info("begun")
    assert written(capsys)[0]["service"] == "predict"

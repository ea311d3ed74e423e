"""Calling the command as a person does, and reading what it says to programs."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from lehr_cli.main import app

runner = CliRunner()


def run(*arguments: str) -> Any:
    return runner.invoke(app, [*arguments, "--aws"])


def documents(result: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]

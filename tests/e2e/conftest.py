"""One local cloud with the real template for the whole suite, driven by the `lehr` command only."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

ROOT = Path(__file__).parents[2]
DEPLOYED = ("template.yaml", "functions", "layers", "trainer_image", "statemachine", "examples")
LEHR = [sys.executable, "-c", "from lehr_cli.main import run; run()"]


def clean_environment() -> dict[str, str]:
    """The host's environment without anything that points at a real account or another cloud."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LEHR_"))}


@dataclass(frozen=True)
class Finished:
    """How a `lehr` command ended; `events` are its lines of JSON."""

    code: int
    events: list[dict[str, Any]]
    stderr: str

    def only(self, event: str) -> dict[str, Any]:
        (found,) = [line for line in self.events if line["event"] == event]
        return found


@dataclass(frozen=True)
class Workplace:
    """A folder with a copy of what is deployed, and a local cloud of its own."""

    folder: Path

    def lehr(self, *arguments: str, timeout_s: float = 180) -> Finished:
        result = subprocess.run(
            [*LEHR, "--json", *arguments],
            cwd=self.folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        # Of ours; a user's own, out of the training log, is shown behind a bar.
        assert not re.search("^Traceback", result.stderr, re.MULTILINE), result.stderr
        events = [json.loads(line) for line in result.stdout.splitlines() if line.strip()]
        return Finished(result.returncode, events, result.stderr)

    def info(self) -> dict[str, Any]:
        info: dict[str, Any] = json.loads((self.folder / ".lehr/local.json").read_text())
        return info

    def client(self, service: str) -> Any:
        return self._session().client(service, endpoint_url=self.info()["endpoint_url"])

    def outputs(self) -> dict[str, str]:
        (stack,) = self.client("cloudformation").describe_stacks(StackName="lehr")["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def training_jobs(self) -> list[str]:
        pages = self.client("sagemaker").get_paginator("list_training_jobs").paginate()
        return [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]

    def _session(self) -> boto3.Session:
        return boto3.Session("local", "local-secret", region_name=self.info()["region"])


def make_workplace(folder: Path) -> Workplace:
    for name in DEPLOYED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder)
    return Workplace(folder)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    place = make_workplace(tmp_path_factory.mktemp("workplace"))
    up = place.lehr("local", "up", "--port", "0", "--https-port", "0")
    assert up.code == 0, up.stderr
    yield place
    assert place.lehr("local", "down").code == 0

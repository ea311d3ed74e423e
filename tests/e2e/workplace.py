"""What the tests work with: a folder, the `lehr` command in it, and clients for what the command does not show."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from lehr_cli.target import Target as Cloud
from tests.e2e.targets import LocalTarget, Target, stack_parameters

ROOT = Path(__file__).parents[2]
DEPLOYED = ("template.yaml", "functions", "layers", "trainer_image", "statemachine", "examples")
LEHR = [sys.executable, "-c", "from lehr_cli.main import run; run()"]
AREAS = ("projects", "datasets", "quarantine", "runs", "models", "batches")
DATA_AREAS = ("incoming", "batches")
_STOP_LIMIT_S = 600.0


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
    """A folder with a copy of what is deployed, a stack at some target, and the projects that tests made there."""

    folder: Path
    target: Target
    projects: set[str] = field(default_factory=set)
    suffix: str = field(default_factory=lambda: uuid4().hex[:6])
    _clients: dict[str, Any] = field(default_factory=dict)

    def project(self, name: str) -> str:
        """A project's name that nobody else in the account has, and that is cleaned up at the end."""
        unique = f"{name}-{self.suffix}"
        self.projects.add(unique)
        return unique

    def lehr(self, *arguments: str, timeout_s: float | None = None) -> Finished:
        result = subprocess.run(
            [*LEHR, "--json", *self.target.options(), *arguments],
            cwd=self.folder,
            env=self.target.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s or self.target.patience_s,
        )
        # Of ours; a user's own, out of the training log, is shown behind a bar.
        assert not re.search("^Traceback", result.stderr, re.MULTILINE), result.stderr
        events = [json.loads(line) for line in result.stdout.splitlines() if line.strip()]
        return Finished(result.returncode, events, result.stderr)

    @property
    def cloud(self) -> Cloud:
        return self.target.cloud(self.folder)

    def info(self) -> Mapping[str, Any]:
        """What a local cloud says of itself."""
        info = self.cloud.info
        assert info is not None, "only a local cloud does"
        return info

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.cloud.client(service)
        return self._clients[service]

    def outputs(self) -> dict[str, str]:
        (stack,) = self.client("cloudformation").describe_stacks(StackName=self.target.stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def parameters(self) -> Mapping[str, str]:
        return stack_parameters(self.cloud, self.target.stack)

    def runs(self, project: str) -> list[dict[str, Any]]:
        """Records of a project's runs, newest first."""
        return [line for line in self.lehr("runs", project).events if line["event"] == "run"]

    def training_jobs(self, project: str) -> list[str]:
        return [name for name, _ in self._training_jobs(project)]

    def keys(self, project: str) -> list[tuple[str, str]]:
        """Bucket and key of every object of a project.

        Versions would tell too, but moto copies the bytes of a whole bucket to list them.
        """
        objects = self.client("s3").get_paginator("list_objects_v2")
        return [
            (bucket, found["Key"])
            for bucket, prefix in self._places(project)
            for page in objects.paginate(Bucket=bucket, Prefix=prefix)
            for found in page.get("Contents", [])
        ]

    def clean_up(self) -> None:
        """Take away what the tests made: what still runs, then the objects and the items of the registry.

        Executions, training jobs and their logs cannot be deleted; AWS forgets them by itself.
        """
        table, s3, dynamodb = self.outputs()["RegistryTable"], self.client("s3"), self.client("dynamodb")
        for project in sorted(self.projects):
            self._stop_runs(project)
            for bucket, page in self._pages(project):
                objects = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in page]
                deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
                assert not deleted.get("Errors"), deleted["Errors"]
            for item in self._items(project):
                dynamodb.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})

    def left(self) -> list[str]:
        """What is there of the tests' projects."""
        return [
            found
            for project in sorted(self.projects)
            for found in [
                *(version["Key"] for _, page in self._pages(project) for version in page),
                *(f"{item['pk']['S']} {item['sk']['S']}" for item in self._items(project)),
            ]
        ]

    def _items(self, project: str) -> list[dict[str, Any]]:
        """Keys and status of the registry's items about a project."""
        query = self.client("dynamodb").get_paginator("query").paginate
        return [
            item
            for partition in ("project", "champion")
            for page in query(
                TableName=self.outputs()["RegistryTable"],
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": f"{partition}#{project}"}},
                ProjectionExpression="pk, sk, #status",
                ExpressionAttributeNames={"#status": "status"},
            )
            for item in page["Items"]
        ]

    def _stop_runs(self, project: str) -> None:
        running = [item for item in self._items(project) if item.get("status") == {"S": "running"}]
        for item in running:
            self.lehr("stop", item["sk"]["S"].removeprefix("run#"))
        # A job that is stopped still writes its checkpoint.
        deadline = time.monotonic() + _STOP_LIMIT_S
        while {"InProgress", "Stopping"} & {status for _, status in self._training_jobs(project)}:
            assert time.monotonic() < deadline, f"a training job of {project} does not stop: stop it by hand"
            time.sleep(self.cloud.poll_s)

    def _training_jobs(self, project: str) -> list[tuple[str, str]]:
        pages = self.client("sagemaker").get_paginator("list_training_jobs")
        # A name has room for a part of the stack's id and for 18 characters of the project.
        name = re.compile(rf"lehr-[0-9a-f]{{8}}-{re.escape(project[:18])}-")
        return [
            (job["TrainingJobName"], job["TrainingJobStatus"])
            for page in pages.paginate(NameContains=project[:18])
            for job in page["TrainingJobSummaries"]
            if name.match(job["TrainingJobName"])
        ]

    def _places(self, project: str) -> list[tuple[str, str]]:
        """Buckets, and the prefixes in them that are a project's."""
        outputs = self.outputs()
        areas = [("ArtifactBucket", area) for area in AREAS] + [("DataBucket", area) for area in DATA_AREAS]
        return [(outputs[name], f"{area}/{project}/") for name, area in areas]

    def _pages(self, project: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Every version of every object of a project, and the markers of deleted ones, by bucket."""
        versions = self.client("s3").get_paginator("list_object_versions")
        for bucket, prefix in self._places(project):
            for page in versions.paginate(Bucket=bucket, Prefix=prefix):
                if found := [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                    yield bucket, found


def make_workplace(folder: Path, target: Target) -> Workplace:
    for name in DEPLOYED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder)
    return Workplace(folder, target)


@contextlib.contextmanager
def deployed_beside(workplace: Workplace, stack: str, **parameters: str) -> Iterator[Workplace]:
    """A stack of that name in the local cloud of the suite, deployed with parameters."""
    command = [sys.executable, "-m", "lehr_local.deploy", "--template", "template.yaml", "--stack", stack]
    command += ["--endpoint-url", str(workplace.cloud.endpoint_url)]
    for name, value in parameters.items():
        command += ["--parameter", f"{name}={value}"]
    result = subprocess.run(
        command,
        cwd=workplace.folder,
        env=workplace.target.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    with cleaned_up(Workplace(workplace.folder, LocalTarget(stack))) as place:
        yield place


@contextlib.contextmanager
def cleaned_up(place: Workplace) -> Iterator[Workplace]:
    """Lend a workplace, and take away what was made in it."""
    try:
        yield place
    finally:
        place.clean_up()
    assert place.left() == []

"""`lehr image build`: what goes to CodeBuild, what is waited for, and what a failed build says."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lehr_cli.failures import CloudError, CommandError
from lehr_cli.image import CPU_INDEX, build, find_image, follow, pack, project_of, start
from lehr_cli.invocation import Invocation
from lehr_cli.stack import Stack

ROOT = Path(__file__).parents[3]
REPOSITORY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/lehr-trainerrepository-x"
OUTPUTS = {"TrainerBuild": "project", "TrainerRepository": REPOSITORY, "ArtifactBucket": "artifacts"}
DIGEST = "sha256:" + "ab" * 32


class World:
    """CodeBuild, ECR, S3 and Logs of one account; a build walks through `phases` and leaves an image if it succeeds."""

    region = "eu-central-1"
    endpoint_url = None

    def __init__(self, *, status: str = "SUCCEEDED") -> None:
        self.status = status
        self.phases = ["QUEUED", "BUILD", "BUILD", "COMPLETED"]
        self.images: set[str] = set()
        self.objects: dict[str, bytes] = {}
        self.started: list[dict[str, Any]] = []

    def client(self, service: str) -> Any:
        return self

    def put_object(self, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:
        self.objects[f"{Bucket}/{Key}"] = Body

    def start_build(self, **request: Any) -> dict[str, Any]:
        self.started.append(request)
        return {"build": {"id": "project:1"}}

    def batch_get_builds(self, ids: list[str]) -> dict[str, Any]:
        phase = self.phases.pop(0)
        is_over = not self.phases
        if is_over and self.status == "SUCCEEDED":
            self.images.add(self.started[-1]["environmentVariablesOverride"][0]["value"])
        logs = {"groupName": "group", "streamName": "stream", "deepLink": "https://console/log"}
        status = self.status if is_over else "IN_PROGRESS"
        return {"builds": [{"currentPhase": phase, "buildStatus": status, "logs": logs}]}

    def describe_images(
        self, registryId: str, repositoryName: str, imageIds: list[dict[str, str]]
    ) -> dict[str, Any]:
        assert (registryId, repositoryName) == ("123456789012", "lehr-trainerrepository-x")
        if imageIds[0]["imageTag"] not in self.images:
            raise ClientError(
                {"Error": {"Code": "ImageNotFoundException", "Message": "no"}}, "DescribeImages"
            )
        return {"imageDetails": [{"imageDigest": DIGEST}]}

    def get_log_events(self, **_: Any) -> dict[str, Any]:
        return {"events": [{"message": "ERROR: no matching distribution\n"}]}


def stack_of(world: World, outputs: dict[str, str] = OUTPUTS) -> Stack:
    return Stack(world, "lehr", outputs)  # type: ignore[arg-type]


def invocation_of(world: World, monkeypatch: pytest.MonkeyPatch) -> Invocation:
    monkeypatch.setattr("lehr_cli.image._POLL_S", 0.0)
    invocation = Invocation(is_json=True)
    invocation.__dict__["stack"] = stack_of(world)
    return invocation


def test_the_source_is_what_the_dockerfile_copies_and_the_same_bytes_every_time() -> None:
    first = pack(ROOT)
    assert pack(ROOT) == first
    names = zipfile.ZipFile(io.BytesIO(first)).namelist()
    copied = [
        line.split()[1]
        for line in (ROOT / "trainer_image/Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
    ]
    assert copied
    for path in copied:
        assert any(name == path or name.startswith(f"{path}/") for name in names), path
    assert not [name for name in names if "__pycache__" in name or ".egg-info" in name]


def test_a_folder_that_is_no_checkout_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no layers/core in") as caught:
        pack(tmp_path)
    assert "--folder" in caught.value.hint


def test_a_stack_without_builds_says_how_to_get_them() -> None:
    with pytest.raises(CommandError) as caught:
        project_of(stack_of(World(), {"ArtifactBucket": "a"}))
    assert "BuildTrainerImage=yes" in caught.value.hint


def test_a_build_ends_with_the_command_that_trains_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World()
    build.__wrapped__(invocation_of(world, monkeypatch), ROOT)  # type: ignore[attr-defined]
    (request,) = world.started
    tag = request["environmentVariablesOverride"][0]["value"]
    assert request["sourceLocationOverride"] == f"artifacts/images/{tag}/source.zip"
    assert world.objects[f"artifacts/images/{tag}/source.zip"] == pack(ROOT)
    printed = capsys.readouterr()
    assert f"TrainerImageUri={REPOSITORY}@{DIGEST}" in printed.err
    assert json.loads(printed.out) == {"event": "image", "image": f"{REPOSITORY}@{DIGEST}", "tag": tag}


def test_the_same_source_is_not_built_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    build.__wrapped__(invocation_of(world, monkeypatch), ROOT)  # type: ignore[attr-defined]
    build.__wrapped__(invocation_of(world, monkeypatch), ROOT)  # type: ignore[attr-defined]
    assert len(world.started) == 1


def test_each_phase_is_told_once() -> None:
    world = World()
    start(stack_of(world), "project", "artifacts/key", "tag")
    assert list(follow(stack_of(world), "project:1", lambda _: None)) == ["QUEUED", "BUILD", "COMPLETED"]


def test_a_failed_build_shows_the_end_of_its_log_and_where_the_rest_is() -> None:
    world = World(status="FAILED")
    with pytest.raises(CloudError, match="no matching distribution") as caught:
        list(follow(stack_of(world), "project:1", lambda _: None))
    assert caught.value.hint == "https://console/log"


def test_an_error_that_is_not_about_the_image_is_not_taken_for_its_absence() -> None:
    world = World()

    def denied(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeImages")

    world.describe_images = denied  # type: ignore[method-assign, assignment]
    with pytest.raises(ClientError):
        find_image(stack_of(world), REPOSITORY, "tag")


def test_an_image_without_cuda_is_another_tag_of_the_same_source_and_for_the_function(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World()
    invocation = invocation_of(world, monkeypatch)
    build.__wrapped__(invocation, ROOT)  # type: ignore[attr-defined]
    world.phases = ["QUEUED", "COMPLETED"]
    build.__wrapped__(invocation, ROOT, cpu=True)  # type: ignore[attr-defined]
    plain, cpu = (
        {each["name"]: each["value"] for each in request["environmentVariablesOverride"]}
        for request in world.started
    )
    assert cpu == {"IMAGE_TAG": f"{plain['IMAGE_TAG']}-cpu", "TORCH_INDEX": CPU_INDEX}
    assert "TORCH_INDEX" not in plain
    assert world.started[0]["sourceLocationOverride"] == world.started[1]["sourceLocationOverride"]
    assert f"TrainerFunctionImageUri={REPOSITORY}@{DIGEST}" in capsys.readouterr().err

"""`lehr image build`: an image of one's own from trainer_image/Dockerfile, built by CodeBuild in the account.

For those who need more in the container than the stock one of AWS has. Docker is not needed here. The tag is the hash
of what is built, so that building the same again finds what is there.
"""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from lehr import layout
from lehr_cli.failures import CloudError, CommandError
from lehr_cli.invocation import Invocation, command
from lehr_cli.output import duration
from lehr_cli.stack import Stack

# What the Dockerfile copies, as its .dockerignore says too.
SOURCES = ("layers/core", "layers/runtime", "trainer_image")
_LEFT_OUT = ("__pycache__", "build")
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_POLL_S = 5.0
# Wheels of PyTorch without CUDA, which are preferred where an index has them: 2.13.0+cpu comes after 2.13.0.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
LOG_TAIL_LINES = 20

app = typer.Typer(no_args_is_help=True, help="An image of your own for training.")

FolderOption = Annotated[
    Path, typer.Option("--folder", help="The checkout of Lehr.", file_okay=False, metavar="FOLDER")
]

CpuOption = Annotated[bool, typer.Option("--cpu", help="Without CUDA: smaller, and enough for a function.")]


@command
def build(invocation: Invocation, folder: FolderOption = Path(), cpu: CpuOption = False) -> None:
    """Build trainer_image/Dockerfile in this account, and say how to train with it.

    Example: lehr image build
    """
    stack, out = invocation.stack, invocation.out
    source = pack(folder)
    project, repository = project_of(stack)
    digest = hashlib.sha256(source).hexdigest()[:16]
    tag = f"{digest}-cpu" if cpu else digest
    uri = find_image(stack, repository, tag)
    if uri:
        out.say(f"the image of this source is there already: {uri}")
    else:
        started = time.monotonic()
        key = layout.image_source_key(digest)
        stack.artifacts.put(key, source, content_type="application/zip")
        build_id = start(stack, project, f"{stack.artifacts.bucket}/{key}", tag, CPU_INDEX if cpu else "")
        invocation.aftermath = f"the build {build_id} goes on in CodeBuild"
        out.say(f"building {repository}:{tag}")
        with out.waiting("building"):
            for phase in follow(stack, build_id):
                out.note(phase)
        uri = find_image(stack, repository, tag)
        if not uri:
            raise CloudError(f"the build {build_id} succeeded, but {repository} has no image {tag}")
        out.say(f"built {uri} in {duration(time.monotonic() - started)}")
    parameter = "TrainerFunctionImageUri" if cpu else "TrainerImageUri"
    out.say(f"train with it: sam deploy --parameter-overrides BuildTrainerImage=yes {parameter}={uri}")
    out.emit({"event": "image", "image": uri, "tag": tag})


app.command()(build)


@app.callback()
def _group() -> None:
    """Typer would make a group of one command that command itself."""


def pack(folder: Path) -> bytes:
    """What the image is built from as a zip, the same bytes for the same files. Raises CommandError."""
    missing = [name for name in (*SOURCES, "trainer_image/Dockerfile") if not (folder / name).exists()]
    if missing:
        raise CommandError(
            f"there is no {missing[0]} in {folder.resolve()}",
            "run it in the folder with Lehr's template.yaml, or name that folder: --folder lehr",
        )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        for path in sorted(_files(folder)):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
            bundle.writestr(entry, path.read_bytes())
    return archive.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    for name in SOURCES:
        for path in (folder / name).rglob("*"):
            parts = path.relative_to(folder).parts
            is_left_out = any(part in _LEFT_OUT or part.endswith(".egg-info") for part in parts)
            if path.is_file() and not is_left_out:
                yield path


def project_of(stack: Stack) -> tuple[str, str]:
    """CodeBuild project and repository of the stack. Raises CommandError if it was deployed without."""
    try:
        return stack.outputs["TrainerBuild"], stack.outputs["TrainerRepository"]
    except KeyError as fault:
        raise CommandError(
            f"the stack {stack.name!r} builds no images",
            "sam deploy --parameter-overrides BuildTrainerImage=yes",
        ) from fault


def find_image(stack: Stack, repository: str, tag: str) -> str:
    """The image as repository and digest, or nothing."""
    account, name = repository.partition(".")[0], repository.partition("/")[2]
    try:
        (image,) = stack.target.client("ecr").describe_images(
            registryId=account, repositoryName=name, imageIds=[{"imageTag": tag}]
        )["imageDetails"]
    except ClientError as fault:
        if fault.response["Error"]["Code"] != "ImageNotFoundException":
            raise
        return ""
    return f"{repository}@{image['imageDigest']}"


def start(stack: Stack, project: str, source: str, tag: str, torch_index: str = "") -> str:
    """Start a build of the zip at `source` (bucket/key), with wheels of `torch_index` preferred. Returns its id."""
    variables = {"IMAGE_TAG": tag, "TORCH_INDEX": torch_index}
    answer = stack.target.client("codebuild").start_build(
        projectName=project,
        sourceTypeOverride="S3",
        sourceLocationOverride=source,
        environmentVariablesOverride=[
            {"name": name, "value": value, "type": "PLAINTEXT"} for name, value in variables.items() if value
        ],
    )
    return str(answer["build"]["id"])


def follow(stack: Stack, build_id: str, sleep: Callable[[float], None] = time.sleep) -> Iterator[str]:
    """The phases of a build as they begin, until it has succeeded. Raises CloudError with the end of its log."""
    client, told = stack.target.client("codebuild"), ""
    while True:
        (found,) = client.batch_get_builds(ids=[build_id])["builds"]
        phase = str(found.get("currentPhase", ""))
        if phase and phase != told:
            told = phase
            yield phase
        if found["buildStatus"] != "IN_PROGRESS":
            break
        sleep(_POLL_S)
    if found["buildStatus"] != "SUCCEEDED":
        tail = "\n".join(_log_tail(stack, found.get("logs", {})))
        raise CloudError(
            f"the build {build_id} ended as {found['buildStatus']}\n{tail}".rstrip(),
            str(found.get("logs", {}).get("deepLink", "")),
        )


def _log_tail(stack: Stack, logs: dict[str, Any]) -> list[str]:
    if not logs.get("groupName") or not logs.get("streamName"):
        return []
    events = stack.logs.get_log_events(
        logGroupName=logs["groupName"], logStreamName=logs["streamName"], limit=LOG_TAIL_LINES
    )["events"]
    return [str(event["message"]).rstrip() for event in events]

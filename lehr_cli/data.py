"""`lehr drop`: raw data into the bucket, checked first, committed last by `_READY`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from lehr import layout
from lehr.contracts.registry import TriggerRecord
from lehr.contracts.workflow import StartAnswer
from lehr.errors import MalformedDataError, MissingDataError, UnknownProjectError, UserError
from lehr_cli.failures import RunFailedError
from lehr_cli.invocation import Invocation, command
from lehr_cli.stack import Stack

CHECKSUMS = "SHA256SUMS"
ANSWER_TIMEOUT_S = 90.0
# As many connections as boto3 keeps.
UPLOADED_AT_ONCE = 10

ProjectArgument = Annotated[str, typer.Argument(help="Name of a pushed project.", metavar="PROJECT")]
DataArgument = Annotated[
    list[Path], typer.Argument(help="Files, or a folder of them.", metavar="FILES|FOLDER")
]


@command
def drop(invocation: Invocation, project: ProjectArgument, paths: DataArgument) -> None:
    """Upload data and commit it with _READY, which starts a run if anything is new.

    A SHA256SUMS file beside the data is checked before anything is sent.

    Example: lehr drop mnist examples/mnist/data
    """
    answer = drop_data(invocation, project, paths)
    show_answer(invocation, answer)
    if answer.outcome == "started":
        invocation.out.note(f"watch it with: lehr watch {answer.run}")


def drop_data(invocation: Invocation, project: str, paths: Sequence[Path]) -> TriggerRecord:
    """Check, upload, commit, and wait for what start_run makes of it."""
    files = collect(paths)
    verify(files.values())
    stack = invocation.stack
    require_project(stack, project)
    invocation.aftermath = "the upload is incomplete and nothing was started: drop again"
    _upload(invocation, project, files)
    drop_id = uuid4().hex
    stack.data.put(layout.ready_key(project), drop_id.encode(), content_type="text/plain")
    invocation.aftermath = f"the data is committed; a run starts if anything is new: lehr watch {project}"
    with invocation.out.waiting("waiting for start_run"):
        return wait_for_answer(stack, project, drop_id)


def require_project(stack: Stack, project: str) -> None:
    """Raises UnknownProjectError unless the project was pushed: no upload should be in vain."""
    if not stack.artifacts.exists(layout.project_head_key(project)):
        known = ", ".join(stack.projects()) or "none yet"
        raise UnknownProjectError(
            f"no project {project!r} was pushed (known: {known})",
            hint="push its folder first: lehr push FOLDER",
        )


def collect(paths: Sequence[Path]) -> dict[str, Path]:
    """Name under incoming/<project>/ to file. Folders are taken whole, hidden files and SHA256SUMS left out."""
    files: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            for inner in sorted(path.rglob("*")):
                relative = inner.relative_to(path)
                if inner.is_file() and not any(part.startswith(".") for part in relative.parts):
                    files[relative.as_posix()] = inner
        elif path.is_file():
            files[path.name] = path
        else:
            raise MissingDataError("there is no such file or folder", place=str(path))
    files.pop(CHECKSUMS, None)
    files.pop(layout.READY, None)
    if not files:
        raise UserError("there are no files to drop", place=", ".join(map(str, paths)))
    return files


def verify(files: Iterable[Path]) -> None:
    """Compare files with the SHA256SUMS beside them, where there is one. Raises DataError naming the file."""
    paths = list(files)
    for folder in sorted({path.parent for path in paths}):
        sums = folder / CHECKSUMS
        if not sums.is_file():
            continue
        expected = _read_sums(sums)
        here = {path.name: path for path in paths if path.parent == folder}
        for name, path in here.items():
            if name in expected and _sha256(path) != expected[name]:
                raise MalformedDataError(
                    f"its sha256 is not the one in {sums}",
                    place=str(path),
                    hint="the file is damaged or was changed: fetch it again",
                )


def _read_sums(path: Path) -> dict[str, str]:
    """Name to digest, as `sha256sum` writes them."""
    pairs = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {pair[1].lstrip("*").strip(): pair[0].lower() for pair in pairs if len(pair) == 2}


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _upload(invocation: Invocation, project: str, files: dict[str, Path]) -> None:
    """Send the files with a bar; large ones go in parts."""
    stack, out = invocation.stack, invocation.out
    prefix = layout.incoming_prefix(project)
    total = sum(path.stat().st_size for path in files.values())
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, console=out.errors, transient=True, disable=not out.errors.is_terminal
    ) as progress:
        bar = progress.add_task("uploading", total=total)

        def send(name: str, path: Path) -> None:
            progress.update(bar, description=name)
            stack.s3.upload_file(
                str(path),
                stack.data.bucket,
                prefix + name,
                Callback=lambda sent: progress.advance(bar, sent),
            )

        # Thousands of small files would otherwise wait for one answer after the other.
        with ThreadPoolExecutor(UPLOADED_AT_ONCE) as pool:
            for sent in [pool.submit(send, name, path) for name, path in files.items()]:
                sent.result()
    out.say(f"dropped {len(files)} file(s), {total / 1e6:.1f} MB, under {stack.data.uri(prefix)}")
    out.emit({"event": "dropped", "project": project, "files": sorted(files), "bytes": total})


def wait_for_answer(
    stack: Stack,
    project: str,
    trigger: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> TriggerRecord:
    """What came of a trigger. Raises RunFailedError when nobody has answered in time."""
    deadline = clock() + ANSWER_TIMEOUT_S
    while clock() < deadline:
        record = stack.registry.trigger(project, trigger)
        if record is not None:
            return record
        sleep(stack.target.poll_s)
    raise RunFailedError(
        f"nothing has answered the drop within {ANSWER_TIMEOUT_S:.0f} s",
        "see the log of the function start_run, and the dead-letter queue of its triggers",
    )


def show_answer(invocation: Invocation, answer: TriggerRecord | StartAnswer) -> None:
    """Tell what came of a trigger. Raises RunFailedError for a refusal."""
    invocation.out.emit({"event": "answer"} | answer.to_value())
    if answer.outcome == "refused":
        raise RunFailedError(
            f"start_run refused: {answer.reason}", f"why, and what to do: lehr why {answer.project}"
        )
    if answer.outcome == "queued":
        invocation.out.say(f"queued: {answer.reason}", "yellow")
    elif answer.outcome == "started":
        invocation.out.say(f"started run {answer.run}: {answer.reason}", "green")
    else:
        invocation.out.say(answer.reason)

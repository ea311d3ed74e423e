"""`lehr data lineage` and `lehr data forget`: what a model was made of, what was made of a file, and all of it gone.

lehr data lineage mnist                       from the champion to the raw files
lehr data lineage mnist train-images.gz       from a raw file to the models that learned from it
lehr data forget clinic patients-7.csv        what would be deleted; with --yes it is
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import uuid4

import typer

from lehr import layout
from lehr.aws.erasing import erase
from lehr.clock import now
from lehr.contracts.registry import ErasureRecord
from lehr.erasure import Erasure, plan_erasure
from lehr.errors import UserError
from lehr.lineage import ProjectLineage, RawFile, files_of_run, read_lineage
from lehr_cli.data import ProjectArgument, require_project
from lehr_cli.invocation import Invocation, command
from lehr_cli.lineage_view import dataset_lines, erasure_lines, file_lines, model_lines
from lehr_cli.stack import Stack

WhatArgument = Annotated[
    str | None,
    typer.Argument(
        help="A model version, a dataset version, or a raw file (default: the champion).", metavar="WHAT"
    ),
]
FilesArgument = Annotated[
    list[str], typer.Argument(help="Raw files; a folder's name ends with a slash.", metavar="FILE...")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Delete; without it, only tell what would go.")]
FormerOption = Annotated[
    bool, typer.Option("--former", help="Only what the files were before; what they are now stays.")
]
RetireOption = Annotated[
    bool,
    typer.Option("--retire-champion", help="Delete the champion too; until the next one nothing serves."),
]


@command
def lineage(invocation: Invocation, project: ProjectArgument, what: WhatArgument = None) -> None:
    """Tell what a model or a dataset was made of, and what was made of a dataset or a file.

    Example: lehr data lineage mnist
    """
    require_project(invocation.stack, project)
    known = read_lineage(project, invocation.stack.artifacts, invocation.stack.registry)
    kind, names = _find(known, project, what)
    if kind == "model":
        drawn, told = model_lines(known, names[0])
    elif kind == "dataset":
        drawn, told = dataset_lines(known, names[0])
    else:
        drawn, told = file_lines(known, [file for key in names for file in known.files(key)])
    invocation.out.say(drawn)
    invocation.out.emit({"event": "lineage", "project": project} | told)


@command
def forget(
    invocation: Invocation,
    project: ProjectArgument,
    files: FilesArgument,
    is_meant: YesOption = False,
    is_former: FormerOption = False,
    retires: RetireOption = False,
) -> None:
    """Delete raw files for good, and with them every dataset version, model and run that was made of them.

    Nothing is deleted without --yes. What is shared with other versions stays theirs.

    Example: lehr data forget clinic patients-7.csv --yes
    """
    stack, out = invocation.stack, invocation.out
    require_project(stack, project)
    _refuse_while_running(stack, project)
    known = read_lineage(project, stack.artifacts, stack.registry)
    found = _raw_files(stack, known, project, files, is_former=is_former)
    erasure = plan_erasure(found, known, project, stack.artifacts)
    out.say(erasure_lines(erasure, is_former=is_former))
    told = _told(erasure)
    if not is_meant:
        out.note("nothing was deleted; --yes deletes it for good")
        out.emit({"event": "erasure", "is_done": False} | told)
        return
    if erasure.is_serving and not retires:
        raise UserError(
            f"the champion of {project}, {known.champion}, learned from these files",
            hint="have a model without them promoted first, or roll back to one; --retire-champion leaves none",
        )
    invocation.aftermath = "some of it is deleted: the same command goes on"
    deleted = _delete(stack, erasure, is_former=is_former)
    out.say(f"deleted {deleted:,} object(s) for good, all their versions among them", "green")
    out.emit({"event": "erasure", "is_done": True, "objects": deleted} | told)


def _find(known: ProjectLineage, project: str, what: str | None) -> tuple[str, list[str]]:
    """What is meant: "model", "dataset" or "file", and its names. Raises UserError with what is near."""
    if what is None or what == "champion":
        if not known.champion:
            raise UserError(
                f"{project} has no champion yet", hint="name a dataset version or a file: lehr data ls"
            )
        return "model", [known.champion]
    matching = [("model", version) for version in known.models if version.startswith(what)]
    matching += [("dataset", version) for version in known.datasets if version.startswith(what)]
    if len(matching) > 1:
        raise UserError(
            f"{what!r} may mean {', '.join(' '.join(one) for one in matching[:5])}", hint="type more of it"
        )
    if matching:
        return matching[0][0], [matching[0][1]]
    keys = _matching(_keys(known), project, what)
    return "file", keys


def _keys(known: ProjectLineage) -> list[str]:
    return sorted({file.key for raw in known.raw.values() for file in raw})


def _matching(keys: Sequence[str], project: str, name: str) -> list[str]:
    """The keys of a file, or of those in a folder. Raises UserError with what is near."""
    prefix = layout.incoming_prefix(project)
    wanted = name if name.startswith(prefix) else prefix + name
    found = [key for key in keys if (key.startswith(wanted) if wanted.endswith("/") else key == wanted)]
    if not found:
        names = [key.removeprefix(prefix) for key in keys]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names[:3]
        raise UserError(
            f"nothing of {project} was made of a file {name!r}",
            hint=f"there are {', '.join(near)}"
            if near
            else f"drop data with: lehr train {project} --data FOLDER",
        )
    return found


def _refuse_while_running(stack: Stack, project: str) -> None:
    for record in stack.registry.runs(project):
        if record.status == "running":
            raise UserError(
                f"run {record.run} of {project} is going on, perhaps on these files",
                hint=f"wait for its end (lehr watch {record.run}), or end it: lehr stop {record.run}",
            )


def _raw_files(
    stack: Stack, known: ProjectLineage, project: str, names: Sequence[str], *, is_former: bool
) -> list[RawFile]:
    """All bytes that the files have had: in versions, in runs that sealed none, and in the bucket."""
    prefix = layout.incoming_prefix(project)
    now_there = {RawFile(one.key, one.etag, one.bytes) for one in stack.data.list(prefix)}
    everything = {file for raw in known.raw.values() for file in raw} | now_there
    for run in stack.artifacts.folders(layout.runs_prefix(project)):
        everything |= set(files_of_run(project, run, stack.artifacts) or ())
    keys = sorted({file.key for file in everything} - {layout.ready_key(project)})
    wanted = {key for name in names for key in _matching(keys, project, name)}
    found = {file for file in everything if file.key in wanted}
    if is_former:
        found = {
            file for file in found if (file.key, file.etag) not in {(one.key, one.etag) for one in now_there}
        }
    return sorted(found)


def _delete(stack: Stack, erasure: Erasure, *, is_former: bool) -> int:
    """Delete all of it, raw files first; what leads to the rest goes last. Returns how many versions of objects."""
    if erasure.is_serving:
        alias = stack.registry.alias(erasure.project)
        assert alias is not None
        stack.registry.retire(erasure.project, generation=alias.generation)
    deleted = sum(
        erase(stack.s3, stack.data.bucket, key, exact=True, keeps_latest=is_former)
        for key in sorted({file.key for file in erasure.files})
    )
    for prefix, last in erasure.prefixes():
        deleted += erase(stack.s3, stack.artifacts.bucket, prefix, last=last)
    runs = [*erasure.runs, *erasure.unknown_runs]
    for run in runs:
        stack.registry.set_run_erased(erasure.project, run)
    stack.registry.add_erasure(
        ErasureRecord(
            project=erasure.project,
            erasure=uuid4().hex[:16],
            at=now(),
            files=erasure.digests,
            datasets=list(erasure.datasets),
            models=list(erasure.models),
            runs=runs,
        )
    )
    return deleted


def _told(erasure: Erasure) -> dict[str, Any]:
    return {
        "project": erasure.project,
        "files": sorted({file.key for file in erasure.files}),
        "datasets": list(erasure.datasets),
        "models": list(erasure.models),
        "runs": [*erasure.runs, *erasure.unknown_runs],
        "shared": len(erasure.shared),
        "is_serving": erasure.is_serving,
    }

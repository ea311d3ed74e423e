"""`lehr data`: the dataset versions of a project, what is in them, what changed between two, and the data card.

lehr data ls mnist                    every version, with the run that sealed it
lehr data show mnist                  schema, statistics and checks of the latest
lehr data diff mnist champion 3f2a    what changed since the champion's data
lehr data card mnist --open           the page for people
"""

from __future__ import annotations

import difflib
import webbrowser
from collections.abc import Sequence
from typing import Annotated, TypeVar

import typer

from lehr import layout
from lehr.contracts.data_checks import DataChecks
from lehr.contracts.document import Document
from lehr.contracts.package import LINEAGE_FILE, Lineage
from lehr.contracts.profile import DatasetStatistics
from lehr.contracts.registry import DatasetRecord
from lehr.dataset_difference import DatasetDifference, difference, label_drift
from lehr.errors import UserError
from lehr_cli.data import ProjectArgument, require_project
from lehr_cli.dataset_view import check_lines, difference_lines, statistics_lines, version_lines
from lehr_cli.invocation import Invocation, command
from lehr_cli.lineage import forget, lineage
from lehr_cli.report import OpenOption, fetch_card
from lehr_cli.stack import Stack

CHAMPION = "champion"
D = TypeVar("D", bound=Document)

app = typer.Typer(no_args_is_help=True, help="Dataset versions: list, show, compare, and their data cards.")

VersionArgument = Annotated[
    str | None,
    typer.Argument(help="A version, its start, or `champion` (default: the latest).", metavar="VERSION"),
]
OldArgument = Annotated[str, typer.Argument(help="A version, its start, or `champion`.", metavar="A")]
NewArgument = Annotated[str, typer.Argument(help="The version to compare it with.", metavar="B")]


@app.command("ls")
@command
def list_versions(invocation: Invocation, project: ProjectArgument) -> None:
    """List dataset versions, newest first, with their rows and the run that sealed them.

    Example: lehr data ls mnist
    """
    stack = invocation.stack
    require_project(stack, project)
    records, champion = present(stack, project), champion_version(stack, project)
    for record in records:
        mark = {"champion": record.version == champion}
        invocation.out.emit({"event": "dataset"} | record.to_value() | mark)
    if records:
        invocation.out.say(version_lines(project, records, champion))
    else:
        invocation.out.say(f"no dataset version of {project} yet")
        invocation.out.note(f"drop data with: lehr train {project} --data FOLDER")


@app.command("show")
@command
def show(invocation: Invocation, project: ProjectArgument, version: VersionArgument = None) -> None:
    """Show the schema, the statistics and the checks of a dataset version.

    Example: lehr data show mnist
    """
    stack, out = invocation.stack, invocation.out
    record = find_version(stack, project, version)
    statistics = read_statistics(stack, record)
    checks = _read(stack, DataChecks, layout.data_checks_key(project, record.run))
    out.say(statistics_lines(record, statistics))
    if checks:
        out.say(check_lines(checks))
    else:
        out.note(f"what the checks of run {record.run} found has expired with the run's files")
    found = {"statistics": statistics.to_value(), "checks": checks.to_value() if checks else None}
    out.emit({"event": "dataset"} | record.to_value() | found)


@app.command("diff")
@command
def diff(invocation: Invocation, project: ProjectArgument, old: OldArgument, new: NewArgument) -> None:
    """Tell what changed from one dataset version to another: schema, rows, labels, columns.

    Example: lehr data diff mnist champion 3f2a
    """
    stack = invocation.stack
    records = find_version(stack, project, old), find_version(stack, project, new)
    before, after = (read_statistics(stack, record) for record in records)
    found = DatasetDifference(
        project=project,
        old=records[0].version,
        new=records[1].version,
        label_drift=round(label_drift(before, after), 6),
        changes=difference(before, after),
    )
    invocation.out.say(difference_lines(found))
    invocation.out.emit({"event": "difference"} | found.to_value())


@app.command("card")
@command
def card(
    invocation: Invocation,
    project: ProjectArgument,
    version: VersionArgument = None,
    is_opened: OpenOption = False,
) -> None:
    """Fetch the data card of a dataset version and print its path.

    Example: lehr data card mnist --open
    """
    record = find_version(invocation.stack, project, version)
    path = fetch_card(invocation.stack, project, record.version)
    if path is None:
        raise UserError(
            f"version {record.version} of {project} has no data card",
            hint=f"it is written at the end of a run: lehr watch {record.run}",
        )
    invocation.out.say(str(path))
    found = {"project": project, "version": record.version, "path": str(path)}
    invocation.out.emit({"event": "card"} | found)
    if is_opened and not webbrowser.open(path.resolve().as_uri()):
        invocation.out.note("there is no browser here to open it with")


app.command("lineage")(lineage)
app.command("forget")(forget)


def find_version(stack: Stack, project: str, version: str | None) -> DatasetRecord:
    """The version of that name or start, the champion's, or the latest. Raises UserError with what is near."""
    require_project(stack, project)
    records = present(stack, project)
    if not records:
        raise UserError(
            f"there is no dataset version of {project} yet",
            hint=f"drop data with: lehr train {project} --data FOLDER",
        )
    if version is None:
        return records[0]
    wanted = champion_version(stack, project) if version == CHAMPION else version
    if not wanted:
        raise UserError(f"{project} has no champion yet", hint=f"`lehr data ls {project}` lists the versions")
    matching = [record for record in records if record.version.startswith(wanted)]
    if not matching:
        near = _near(wanted, [record.version for record in records])
        raise UserError(
            f"there is no dataset version {wanted!r} of {project}", hint=f"there are {', '.join(near)}"
        )
    if len(matching) > 1:
        found = ", ".join(record.version for record in matching[:5])
        raise UserError(f"{version!r} may mean {found}", hint="type more of it")
    return matching[0]


def present(stack: Stack, project: str) -> list[DatasetRecord]:
    """The versions of a project, newest first, without those that were deleted for good and never came back."""
    erased = {version for erasure in stack.registry.erasures(project) for version in erasure.datasets}
    return [
        record
        for record in stack.registry.datasets(project)
        if record.version not in erased
        or stack.artifacts.exists(layout.dataset_manifest_key(project, record.version))
    ]


def champion_version(stack: Stack, project: str) -> str:
    """The dataset version that the champion was trained on; empty without a champion."""
    alias = stack.registry.alias(project)
    if alias is None:
        return ""
    lineage = _read(stack, Lineage, layout.model_file_key(project, alias.champion, LINEAGE_FILE))
    return lineage.dataset_version if lineage else ""


def read_statistics(stack: Stack, record: DatasetRecord) -> DatasetStatistics:
    """Of a version. Raises UserError for one that was sealed without any."""
    found = _read(stack, DatasetStatistics, layout.dataset_statistics_key(record.project, record.version))
    if found is None:
        raise UserError(
            f"version {record.version} of {record.project} has no statistics",
            hint="it was sealed by an earlier release: a run with new data or another recipe writes them",
        )
    return found


def _near(wanted: str, versions: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(wanted, versions, n=3, cutoff=0.3) or list(versions[:3])


def _read(stack: Stack, kind: type[D], key: str) -> D | None:
    try:
        return kind.from_json(stack.artifacts.get(key))
    except KeyError:
        return None

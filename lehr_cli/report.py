"""`lehr report`: the HTML page that a run has left behind, on this machine."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from lehr import layout
from lehr.contracts.registry import RunRecord
from lehr.errors import UserError
from lehr_cli.find_run import find_run
from lehr_cli.invocation import Invocation, command
from lehr_cli.stack import Stack
from lehr_cli.target import STATE_DIR
from lehr_cli.watch import RunArgument

OpenOption = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]


@command
def report(invocation: Invocation, run: RunArgument = None, is_opened: OpenOption = False) -> None:
    """Fetch the report of a run (default: the latest) and print its path.

    Example: lehr report mnist --open
    """
    record = find_run(invocation.stack, run)
    path = fetch_report(invocation.stack, record)
    if record.dataset_version:
        fetch_card(invocation.stack, record.project, record.dataset_version)
    invocation.out.say(str(path))
    invocation.out.emit({"event": "report", "project": record.project, "run": record.run, "path": str(path)})
    if is_opened and not webbrowser.open(path.resolve().as_uri()):
        invocation.out.note("there is no browser here to open it with")


def fetch_report(stack: Stack, record: RunRecord, folder: Path | None = None) -> Path:
    """Download a run's report to .lehr/reports/<project>-<run>.html. Raises UserError when there is none."""
    try:
        body = stack.artifacts.get(layout.report_key(record.project, record.run))
    except KeyError as fault:
        hint = (
            f"it is written at the end of the run: lehr watch {record.run}"
            if record.status == "running"
            else "the run ended before it could be written"
        )
        raise UserError(f"run {record.run} of {record.project} has no report", hint=hint) from fault
    path = (folder or Path()) / STATE_DIR / "reports" / f"{record.project}-{record.run}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def fetch_card(stack: Stack, project: str, version: str) -> Path | None:
    """Download a data card to .lehr/reports/, under the name that reports link to; None: there is none."""
    try:
        body = stack.artifacts.get(layout.dataset_card_key(project, version))
    except KeyError:
        return None
    path = Path() / STATE_DIR / "reports" / layout.saved_card_name(project, version)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path

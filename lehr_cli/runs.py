"""`lehr runs`: what was trained, what it reached, what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from lehr.contracts.registry import Alias, RunRecord
from lehr_cli.invocation import Invocation, command
from lehr_cli.output import duration

_STYLES = {"promoted": "green", "rejected": "yellow", "failed": "red", "running": "cyan"}

ProjectArgument = Annotated[str | None, typer.Argument(help="One project (default: all).", metavar="PROJECT")]
LimitOption = Annotated[int, typer.Option(min=1, help="How many runs of each project.")]


@command
def runs(invocation: Invocation, project: ProjectArgument = None, limit: LimitOption = 20) -> None:
    """List runs, newest first, with their accuracy beside the champion's.

    Example: lehr runs mnist
    """
    stack = invocation.stack
    names = [project] if project else stack.projects()
    shown = 0
    for name in names:
        alias = stack.registry.alias(name)
        records = stack.registry.runs(name, limit=limit)
        shown += len(records)
        for record in records:
            is_champion = bool(alias and record.model_version and alias.champion == record.model_version)
            invocation.out.emit(
                {"event": "run"} | record.to_value() | {"champion": is_champion, "seconds": seconds(record)}
            )
        if records:
            invocation.out.say(table(name, records, alias))
    if not shown:
        invocation.out.say(f"no runs yet{f' of {project}' if project else ''}")
        invocation.out.note("start one with: lehr train PROJECT --data FOLDER")


def table(project: str, records: list[RunRecord], alias: Alias | None) -> Table:
    """The runs of one project; `●` marks the one whose model serves."""
    drawn = Table(title=project, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for heading in ("run", "status", "accuracy", "champion's", "model", "took", "reason"):
        right = heading in {"accuracy", "champion's", "took"}
        drawn.add_column(
            heading, justify="right" if right else "left", header_style="dim", no_wrap=heading != "reason"
        )
    for record in records:
        serves = bool(alias and record.model_version and alias.champion == record.model_version)
        drawn.add_row(
            Text(record.run),
            Text(record.status, style=_STYLES[record.status]),
            _accuracy(record.accuracy),
            _accuracy(record.champion_accuracy),
            Text.assemble(record.model_version, (" ● champion", "bold green") if serves else ""),
            _took(record),
            Text(record.reason, style="dim"),
        )
    return drawn


def seconds(record: RunRecord) -> float | None:
    """How long an ended run took, in seconds; None while it goes on."""
    if not record.ended_at:
        return None
    began, ended = (datetime.fromisoformat(text) for text in (record.started_at, record.ended_at))
    return round((ended - began).total_seconds(), 3)


def _took(record: RunRecord) -> str:
    took = seconds(record)
    return "" if took is None else duration(took)


def _accuracy(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"

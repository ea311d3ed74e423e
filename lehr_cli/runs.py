"""`lehr runs`: what was trained, what it reached, what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.text import Text

from lehr.contracts.registry import Alias, RunRecord
from lehr_cli.invocation import Invocation, command
from lehr_cli.output import duration

_STYLES = {"promoted": "green", "rejected": "yellow", "failed": "red", "running": "cyan"}

ProjectArgument = Annotated[str | None, typer.Argument(help="One project (default: all).", metavar="PROJECT")]
LimitOption = Annotated[int, typer.Option(min=1, help="How many runs of each project.")]


@command
def runs(invocation: Invocation, project: ProjectArgument = None, limit: LimitOption = 20) -> None:
    """List runs, newest first, with accuracy (mean IoU, mAP50 or RMSE of other tasks) beside the champion's.

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
            extra = {"champion": is_champion(record, alias), "seconds": seconds(record)}
            invocation.out.emit({"event": "run"} | record.to_value() | extra)
        if records:
            invocation.out.say(lines(name, records, alias))
    if not shown:
        invocation.out.say(f"no runs yet{f' of {project}' if project else ''}")
        invocation.out.note("start one with: lehr train PROJECT --data FOLDER")


def lines(project: str, records: list[RunRecord], alias: Alias | None) -> Text:
    """The runs of one project, a line each and their reason below; `●` marks the one whose model serves."""
    drawn = Text(f"{project}\n", style="bold")
    for record in records:
        serves = is_champion(record, alias)
        drawn.append_text(
            Text.assemble(
                ("● " if serves else "  ", "bold green"),
                (f"{record.run:<15} ", "default"),
                (f"{record.status:<9}", _STYLES[record.status]),
                (f"{_accuracy(record):<17} ", "default"),
                (f"{record.model_version:<17}", "bold green" if serves else "default"),
                (f"{_took(record):>9}", "dim"),
                ("  champion" if serves else "", "bold green"),
                ("  erased" if record.is_erased else "", "dim"),
                (f"  resumed {record.resumes}x" if record.resumes else "", "dim"),
                (f"  trial {record.trial} of {record.trials}" if record.trials > 1 else "", "dim"),
                (f"\n      {record.reason}" if record.reason else "", "dim"),
                "\n",
                style="not bold",
            )
        )
    drawn.rstrip()
    return drawn


def is_champion(record: RunRecord, alias: Alias | None) -> bool:
    """Whether the model of this very run serves: two runs may have made the same model."""
    return bool(alias and alias.champion == record.model_version and alias.owner == record.run)


def seconds(record: RunRecord) -> float | None:
    """How long an ended run took, in seconds; None while it goes on."""
    if not record.ended_at:
        return None
    began, ended = (datetime.fromisoformat(text) for text in (record.started_at, record.ended_at))
    return round((ended - began).total_seconds(), 3)


def _took(record: RunRecord) -> str:
    took = seconds(record)
    return "" if took is None else duration(took)


def _accuracy(record: RunRecord) -> str:
    """The candidate's, and the champion's at that time; or what the task has in its place: mean IoU, mAP50, RMSE."""
    if record.rmse is not None:
        beside = "" if record.champion_rmse is None else f" vs {record.champion_rmse:.5g}"
        return f"{record.rmse:.5g}{beside}"
    if record.mean_iou is not None:
        beside = "" if record.champion_mean_iou is None else f" vs {record.champion_mean_iou:.4f}"
        return f"{record.mean_iou:.4f}{beside}"
    if record.map50 is not None:
        beside = "" if record.champion_map50 is None else f" vs {record.champion_map50:.4f}"
        return f"{record.map50:.4f}{beside}"
    if record.accuracy is None:
        return ""
    beside = "" if record.champion_accuracy is None else f" vs {record.champion_accuracy:.4f}"
    return f"{record.accuracy:.4f}{beside}"

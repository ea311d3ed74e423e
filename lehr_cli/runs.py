"""`lehr runs`: what was trained, what it reached, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated

import typer
from rich.text import Text

from lehr.contracts.approval import Approval
from lehr.contracts.registry import Alias, RunRecord
from lehr_cli.invocation import Invocation, command
from lehr_cli.output import duration
from lehr_cli.stack import Stack

_STYLES = {"promoted": "green", "rejected": "yellow", "failed": "red", "running": "cyan"}

_NOT_YET = "9"  # sorts after every time

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
        champions = stack.registry.champions(name)
        alias = champions[0] if champions else None
        records = stack.registry.runs(name, limit=limit)
        shown += len(records)
        waiting = waiting_approvals(stack, records)
        for record in records:
            extra: dict[str, object] = {"champion": is_champion(record, alias), "seconds": seconds(record)}
            if record.run in waiting:
                extra["waits_for_approval_until"] = waiting[record.run].expires_at
            invocation.out.emit({"event": "run"} | record.to_value() | extra)
        for one in champions:
            if one.kind == "rollback":
                invocation.out.emit({"event": "rolled_back"} | one.to_value())
        if records:
            invocation.out.say(lines(name, records, champions, waiting))
    if not shown:
        invocation.out.say(f"no runs yet{f' of {project}' if project else ''}")
        invocation.out.note("start one with: lehr train PROJECT --data FOLDER")


def waiting_approvals(stack: Stack, records: list[RunRecord]) -> dict[str, Approval]:
    """What the runs that go on wait for, by run."""
    found = {}
    for record in records:
        approval = stack.approvals.of_run(record.project, record.run) if record.status == "running" else None
        if approval and approval.status == "PendingManualApproval":
            found[record.run] = approval
    return found


def lines(
    project: str,
    records: list[RunRecord],
    champions: list[Alias],
    waiting: Mapping[str, Approval] = MappingProxyType({}),
) -> Text:
    """The runs of one project, a line each and their reason below; `●` marks the one whose model serves.

    Between them, what was rolled back, in the order of time.
    """
    alias = champions[0] if champions else None
    drawn = [
        (record.ended_at or _NOT_YET, _run_line(record, alias, waiting.get(record.run))) for record in records
    ]
    oldest = min((record.started_at for record in records), default="")
    drawn += [
        (one.updated_at, _rollback_line(one))
        for one in champions
        if one.kind == "rollback" and one.updated_at >= oldest
    ]
    drawn.sort(key=lambda item: item[0], reverse=True)
    text = Text(f"{project}\n", style="bold")
    for _, line in drawn:
        text.append_text(line)
    text.rstrip()
    return text


def _run_line(record: RunRecord, alias: Alias | None, waits: Approval | None) -> Text:
    serves = is_champion(record, alias)
    asks = _what_waits(record, alias, waits)
    return Text.assemble(
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
        (asks, "yellow"),
        "\n",
        style="not bold",
    )


def _what_waits(record: RunRecord, alias: Alias | None, waits: Approval | None) -> str:
    """What a run that goes on waits for: a person, or the time of its canary."""
    if record.status != "running":
        return ""
    if waits:
        until = f"waits for approval until {waits.expires_at[:19]}Z: {waits.figures}"
        return f"\n      {until}\n      lehr approve {record.run}, or lehr reject {record.run} --reason …"
    if alias and alias.canary and alias.owner == record.run:
        kind = "is asked as a shadow in" if alias.is_shadow else "answers as a canary"
        share = f"{alias.canary} {kind} {100 * alias.weight:g} % of the requests"
        return f"\n      {share}; lehr rollback {record.project} ends it"
    return ""


def _rollback_line(alias: Alias) -> Text:
    said = "\n      " + " ".join(part for part in (alias.reason, f"({alias.by})" if alias.by else "") if part)
    return Text.assemble(
        (f"↩ {'rolled back':<15} ", "yellow"),
        (f"{alias.previous} → {alias.champion}", "default"),
        (f"  {alias.updated_at[:19]}Z", "dim"),
        (said if said.strip() else "", "dim"),
        "\n",
        style="not bold",
    )


def is_champion(record: RunRecord, alias: Alias | None) -> bool:
    """Whether the model of this very run serves: two runs may have made the same model."""
    return bool(alias and alias.champion == record.model_version and record.run == (alias.run or alias.owner))


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

"""`lehr drift`: what the endpoint was asked, beside what the champion was trained on."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from lehr import layout
from lehr.contracts.drift import DriftReport
from lehr.errors import ContractError, UserError
from lehr_cli.data import ProjectArgument, require_project
from lehr_cli.failures import CloudError
from lehr_cli.invocation import Invocation, command
from lehr_cli.stack import Stack

MAX_SHOWN = 12
_STYLES = {"stable": "green", "drifted": "red", "not_enough": "yellow", "not_compared": "yellow"}

NowOption = Annotated[bool, typer.Option("--now", help="Look now, instead of showing the last look.")]


@command
def drift(invocation: Invocation, project: ProjectArgument, now: NowOption = False) -> None:
    """Show whether the endpoint is asked something else than the champion was trained on.

    Example: lehr drift fares --now
    """
    stack, out = invocation.stack, invocation.out
    require_project(stack, project)
    if now:
        with out.waiting("reading the endpoint's log"):
            _look(stack, project)
    report = read_report(stack, project)
    out.emit({"event": "drift"} | report.to_value())
    out.say(f"{report.status.replace('_', ' ')}: {report.reason}", _STYLES[report.status])
    out.say(
        f"champion {report.model_version}, {report.rows:,} rows of {report.requests:,} captured requests "
        f"from {report.since} to {report.at}{', a sample of more' if report.is_sampled else ''}"
    )
    if report.columns:
        out.say(columns_table(report))
    for live in report.live:
        mark = "champion " if live.model_version == report.model_version else ""
        out.say(
            f"labels came back for {live.rows:,} predictions of {mark}{live.model_version}: {live.accuracy:.2%} right, "
            f"{live.low:.2%} to {live.high:.2%} with 95 % confidence{', too few' if live.is_low else ''}",
            "red" if live.is_low else "",
        )
    if report.event_at:
        out.note(f"told as an event at {report.event_at}")


def read_report(stack: Stack, project: str) -> DriftReport:
    """The report of the last look. Raises UserError with the way to have one."""
    try:
        return DriftReport.from_json(stack.artifacts.get(layout.drift_report_key(project)))
    except KeyError as fault:
        raise UserError(
            f"nobody has looked at what is asked of {project} yet",
            hint="lehr drift PROJECT --now; every hour with CaptureRate=1 and DriftCheck=ENABLED",
        ) from fault
    except ContractError as fault:
        raise UserError(
            f"the last report is of another release: {fault}", hint="look again: --now"
        ) from fault


def columns_table(report: DriftReport) -> Table:
    """The furthest comparisons, those that have drifted first."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "column", "what", "rows", "PSI", "distance", "p"):
        table.add_column(name, justify="right" if name in ("rows", "PSI", "distance", "p") else "left")
    for one in report.columns[:MAX_SHOWN]:
        mark = "drifted" if one.has_drifted else ""
        style = "red" if one.has_drifted else None
        cells = (f"{one.rows:,}", f"{one.psi:.3f}", f"{one.distance:.3f}", f"{one.p_value:.2g}")
        table.add_row(mark, one.name, one.kind, *cells, style=style)
    held = report.thresholds
    table.caption = (
        f"drifted: p < {held.max_p_value:.2g}, and PSI ≥ {held.max_psi:g} or distance ≥ {held.max_distance:g}"
    )
    return table


def _look(stack: Stack, project: str) -> None:
    answer = stack.target.client("lambda").invoke(
        FunctionName=stack.output("WatchDriftFunction"), Payload=json.dumps({"project": project}).encode()
    )
    payload = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise CloudError(
            f"the look failed: {payload.get('errorMessage', payload)}", "its log has more: watch_drift"
        )
    if project not in payload["projects"]:
        raise UserError(f"{project} has no champion to look at", hint=f"train one: lehr train {project}")

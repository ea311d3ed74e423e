"""`lehr compare`: two runs or model versions side by side, with what differs between them and by how much."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.text import Text

from lehr import layout
from lehr.contracts.document import Document
from lehr.contracts.evaluation import Decision
from lehr.contracts.package import LINEAGE_FILE, TRAINING_FILE, Lineage
from lehr.contracts.profile import DatasetStatistics
from lehr.contracts.recipe import Recipe
from lehr.contracts.registry import RunRecord
from lehr.contracts.training import TrainingSummary
from lehr.errors import ContractError, UserError
from lehr_cli.compare_page import page_of
from lehr_cli.comparison import Comparison, Facts, Row, compare
from lehr_cli.find_run import find_run
from lehr_cli.invocation import Invocation, command
from lehr_cli.stack import Stack

CHAMPION = "champion"
D = TypeVar("D", bound=Document)

OneArgument = Annotated[
    str, typer.Argument(help="A run, a model version, their start, or `champion`.", metavar="A")
]
OtherArgument = Annotated[str, typer.Argument(help="The one to compare it with.", metavar="B")]
AllOption = Annotated[bool, typer.Option("--all", help="Also what is the same in both.")]
HtmlOption = Annotated[Path | None, typer.Option(help="Write a page of it too.")]


@command
def compare_runs(
    invocation: Invocation,
    one: OneArgument,
    other: OtherArgument,
    is_whole: AllOption = False,
    html: HtmlOption = None,
) -> None:
    """Compare two runs: data, recipe, code, curves' ends, test figures, rules, cost, time, environment.

    Example: lehr compare 3f2a90c1d7e4 champion
    """
    stack, out = invocation.stack, invocation.out
    a, b = find_both(stack, one, other)
    found = compare(read_facts(stack, a), read_facts(stack, b))
    out.say(lines(found, is_whole=is_whole))
    out.emit({"event": "comparison"} | found.to_value())
    if html is not None:
        html.write_text(page_of(found))
        out.say(str(html))


def find_both(stack: Stack, one: str, other: str) -> tuple[RunRecord, RunRecord]:
    """The runs that are meant; `champion` is that of the other's project. Raises UserError."""
    if one == other == CHAMPION:
        raise UserError(
            "a champion cannot be compared with itself", hint="name a run: `lehr runs` lists them"
        )
    if one == CHAMPION:
        second = _find(stack, other)
        return _champion(stack, second.project), second
    first = _find(stack, one)
    return first, _champion(stack, first.project) if other == CHAMPION else _find(stack, other)


def read_facts(stack: Stack, record: RunRecord) -> Facts:
    """Everything that there is of a run."""
    project, run, model, dataset = record.project, record.run, record.model_version, record.dataset_version
    return Facts(
        record=record,
        recipe=_read(stack, Recipe, layout.recipe_key(project, run)),
        lineage=_read(stack, Lineage, layout.model_file_key(project, model, LINEAGE_FILE)) if model else None,
        training=_read(stack, TrainingSummary, layout.model_file_key(project, model, TRAINING_FILE))
        if model
        else None,
        metrics=_metrics(stack, record),
        decision=_read(stack, Decision, layout.decision_key(project, run)),
        statistics=_read(stack, DatasetStatistics, layout.dataset_statistics_key(project, dataset))
        if dataset
        else None,
        usd=record.actual_usd,
    )


def lines(found: Comparison, *, is_whole: bool = False) -> Text:
    """The sections as columns. The better figure is green; what is the same is left out unless it is asked for."""
    drawn = Text.assemble((found.a, "bold"), "  and  ", (found.b, "bold"), "\n")
    for section in found.sections:
        rows = [row for row in section.rows if is_whole or not row.is_same]
        drawn.append(f"  {section.title}", "bold")
        same = len(section.rows) - len(rows)
        drawn.append(f"  {same} the same\n" if same else "\n", "dim")
        widths = [max((len(getattr(row, part)) for row in rows), default=0) for part in ("name", "a", "b")]
        for row in rows:
            drawn.append_text(_line(row, widths))
    drawn.rstrip()
    return drawn


def _line(row: Row, widths: list[int]) -> Text:
    styles = {"a": ("green", "default"), "b": ("default", "green"), "": ("default", "default")}[row.better]
    return Text.assemble(
        (f"    {row.name:<{widths[0]}}  ", "dim"),
        (f"{row.a or '-':<{widths[1]}}  ", styles[0]),
        (f"{row.b or '-':<{widths[2]}}  ", styles[1]),
        (row.difference, "cyan"),
        "\n",
    )


def _find(stack: Stack, name: str) -> RunRecord:
    """A run by its id, or the run that has made a model version."""
    try:
        return find_run(stack, name)
    except UserError as fault:
        made = {
            (record.project, record.run)
            for project in stack.projects()
            for record in stack.registry.models(project)
            if record.version.startswith(name)
        }
        found = [stack.registry.run(*one) for one in sorted(made)]
        if len(found) != 1 or found[0] is None:
            raise fault
        return found[0]


def _champion(stack: Stack, project: str) -> RunRecord:
    alias = stack.registry.alias(project)
    if alias is None:
        raise UserError(f"{project} has no champion yet", hint=f"lehr runs {project}")
    records = [record for record in stack.registry.runs(project) if record.model_version == alias.champion]
    mine = [record for record in records if record.run == alias.owner] or records
    if not mine:
        raise UserError(f"the run of champion {alias.champion} is not in the registry")
    return mine[0]


def _metrics(stack: Stack, record: RunRecord) -> dict[str, Any]:
    """The candidate's figures on the test's rows, whatever the task is."""
    key = layout.evaluation_report_key(record.project, record.run)
    try:
        candidate = msgspec.json.decode(stack.artifacts.get(key))["candidate"]
    except (KeyError, TypeError, msgspec.DecodeError):
        return {}
    return {name: value for name, value in candidate.items() if isinstance(value, int | float)}


def _read(stack: Stack, kind: type[D], key: str) -> D | None:
    try:
        return kind.from_json(stack.artifacts.get(key))
    except (KeyError, ContractError):
        return None

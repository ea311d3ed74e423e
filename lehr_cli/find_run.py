"""From what a person types (a run, the start of one, a project, nothing) to the run that is meant."""

from __future__ import annotations

from lehr.contracts.registry import RunRecord
from lehr.errors import UserError
from lehr_cli.stack import Stack


def find_run(stack: Stack, name: str | None) -> RunRecord:
    """The latest run of a project, the run of that id (or its start), or the latest of all. Raises UserError."""
    projects = stack.projects()
    if name is not None and "/" in name:
        project, _, name = name.partition("/")
        projects = [project]
    if name in projects:
        projects, name = [name], None
    records = [record for project in projects for record in stack.registry.runs(project)]
    records.sort(key=lambda record: record.started_at, reverse=True)
    if not records:
        raise UserError("there is no run yet", hint="start one with: lehr train PROJECT --data FOLDER")
    if name is None:
        return records[0]
    matching = [record for record in records if record.run == name] or [
        record for record in records if record.run.startswith(name)
    ]
    if not matching:
        raise UserError(
            f"there is neither a run nor a project {name!r}",
            hint="`lehr runs` lists the runs of every project",
        )
    if len({(record.project, record.run) for record in matching}) > 1:
        found = ", ".join(f"{record.project}/{record.run}" for record in matching[:5])
        raise UserError(f"{name!r} may mean {found}", hint="type more of it")
    return matching[0]

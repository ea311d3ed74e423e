"""`lehr train`: one command from data to decision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from lehr.contracts.registry import TriggerRecord
from lehr.contracts.workflow import StartAnswer, StartRequest
from lehr_cli.data import ProjectArgument, drop_data, require_project, show_answer
from lehr_cli.failures import CloudError
from lehr_cli.invocation import Invocation, command
from lehr_cli.watch import watch_to_the_end

DataOption = Annotated[Path | None, typer.Option(help="Drop the files of this folder first.")]


@command
def train(invocation: Invocation, project: ProjectArgument, data: DataOption = None) -> None:
    """Start a run, on new data or on what was dropped before, and watch it.

    The same data, recipe and code are never trained on twice.

    Example: lehr train mnist --data examples/mnist/data
    """
    answer = drop_data(invocation, project, [data]) if data else start(invocation, project)
    show_answer(invocation, answer)
    follow_answer(invocation, answer)


def start(invocation: Invocation, project: str) -> StartAnswer:
    """Call start_run without a drop."""
    require_project(invocation.stack, project)
    request = StartRequest(project=project, trigger=uuid4().hex)
    answer = invocation.target.client("lambda").invoke(
        FunctionName=invocation.stack.output("StartRunFunction"), Payload=request.to_json()
    )
    payload = answer["Payload"].read()
    if answer.get("FunctionError"):
        fault = json.loads(payload)
        raise CloudError(
            f"start_run failed: {fault.get('errorType', '?')}: {fault.get('errorMessage', '?')}",
            "see the log of the function start_run",
        )
    return StartAnswer.from_json(payload)


def follow_answer(invocation: Invocation, answer: TriggerRecord | StartAnswer) -> bool:
    """Watch the run that an answer names, if it is going on. Returns whether there was anything to watch."""
    record = invocation.stack.registry.run(answer.project, answer.run) if answer.run else None
    if answer.outcome != "started" and (record is None or record.status != "running"):
        return False
    arn = answer.execution_arn or (record.execution_arn if record else "")
    watch_to_the_end(invocation, answer.project, answer.run, arn)
    return True

"""`lehr train`: one command from data to decision."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from lehr.contracts.registry import TriggerRecord
from lehr.contracts.workflow import StartAnswer, StartRequest
from lehr_cli.call import call_function
from lehr_cli.data import ProjectArgument, drop_data, require_project, show_answer
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


def start(invocation: Invocation, project: str) -> TriggerRecord | StartAnswer:
    """Call start_run without a drop."""
    require_project(invocation.stack, project)
    return call_start_run(invocation, project)


def call_start_run(invocation: Invocation, project: str, *, resume: str = "") -> TriggerRecord | StartAnswer:
    """Call the function itself; `resume` is a failed run that shall go on. Raises CloudError for a fault in it."""
    trigger = uuid4().hex
    request = StartRequest(project=project, trigger=trigger, resume=resume)
    payload = call_function(invocation, "StartRunFunction", request)
    started = StartAnswer.from_json(payload)
    return invocation.stack.registry.trigger(project, trigger) or started


def follow_answer(invocation: Invocation, answer: TriggerRecord | StartAnswer) -> bool:
    """Watch the run that an answer names, if it is going on. Returns whether there was anything to watch."""
    if answer.outcome == "queued" and isinstance(answer, TriggerRecord):
        answer = wait_for_turn(invocation, answer)
        show_answer(invocation, answer)
    record = invocation.stack.registry.run(answer.project, answer.run) if answer.run else None
    if answer.outcome != "started" and (record is None or record.status != "running"):
        return False
    arn = answer.execution_arn or (record.execution_arn if record else "")
    watch_to_the_end(invocation, answer.project, answer.run, arn)
    return True


def wait_for_turn(
    invocation: Invocation, answer: TriggerRecord, sleep: Callable[[float], None] = time.sleep
) -> TriggerRecord:
    """The answer that takes the place of "queued", once the run that goes on has ended."""
    invocation.aftermath = (
        f"the data waits for the end of run {answer.run} all the same: lehr watch {answer.run}"
    )
    registry, current = invocation.stack.registry, answer
    with invocation.out.waiting(f"waiting for the end of run {answer.run}"):
        while current.outcome == "queued":
            sleep(invocation.target.poll_s)
            current = registry.trigger(answer.project, answer.trigger) or current
    return current

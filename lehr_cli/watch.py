"""`lehr watch` and `lehr stop`: a run as it goes by, to its decision or to the reason of its failure."""

from __future__ import annotations

from typing import Annotated

import typer
from botocore.exceptions import ClientError
from rich.text import Text

from lehr.contracts.registry import RunRecord
from lehr_cli.earlier import GONE, earlier_executions
from lehr_cli.events import ExecutionEnded, RunResumed
from lehr_cli.explaining import read_failure
from lehr_cli.failures import CloudError, RunFailedError
from lehr_cli.find_run import find_run
from lehr_cli.follow import follow
from lehr_cli.invocation import Invocation, command
from lehr_cli.output import duration
from lehr_cli.stack import Stack
from lehr_cli.view import RunView

RunArgument = Annotated[
    str | None,
    typer.Argument(help="A run (or its start), or a project: its latest run.", metavar="RUN|PROJECT"),
]
LOG_TAIL_LINES = 20


@command
def watch(invocation: Invocation, run: RunArgument = None) -> None:
    """Show a run state by state, with the epochs of its training, until it ends.

    Example: lehr watch mnist
    """
    record = find_run(invocation.stack, run)
    invocation.out.say(f"run {record.run} of {record.project}, started {record.started_at}", "dim")
    watch_to_the_end(invocation, record.project, record.run, record.execution_arn)


@command
def stop(invocation: Invocation, run: RunArgument = None) -> None:
    """Stop a run that is going on, its training job with it.

    Example: lehr stop mnist
    """
    stack = invocation.stack
    record = find_run(stack, run)
    if record.status != "running":
        invocation.out.say(f"run {record.run} has ended already: {record.status}")
        invocation.out.emit({"event": "stop", "run": record.run, "was_running": False})
        return
    reason = "stopped by a person"
    stack.executions.stop_execution(executionArn=record.execution_arn, error="Stopped", cause=reason)
    # An aborted execution runs no further state, so nobody else can write the end of the run.
    stack.registry.end_run(record.project, record.run, status="failed", reason=reason)
    invocation.out.say(f"stopped run {record.run} of {record.project}")
    invocation.out.emit({"event": "stop", "run": record.run, "was_running": True})


def watch_to_the_end(invocation: Invocation, project: str, run: str, execution_arn: str) -> RunRecord:
    """Draw a run until it ends, then tell how. Raises RunFailedError if it failed."""
    invocation.aftermath = f"run {run} goes on; look with: lehr watch {run}   stop it with: lehr stop {run}"
    ended: ExecutionEnded | None = None
    seconds: list[float | None] = []
    stack = invocation.stack
    earlier = earlier_executions(stack.registry.run(project, run), execution_arn)
    try:
        with RunView(invocation.out, run) as view:
            for event in follow(stack, project, run, execution_arn, earlier=earlier):
                view.show(event)
                if isinstance(event, RunResumed):
                    seconds.append(event.seconds)
                if isinstance(event, ExecutionEnded):
                    ended = event
    except ClientError as fault:
        if fault.response["Error"]["Code"] != GONE:
            raise
        raise CloudError(
            f"the execution of run {run} is gone: Step Functions keeps it for 90 days",
            "see `lehr runs` and `lehr report`",
        ) from fault
    assert ended is not None
    invocation.aftermath = f"run {run} has ended"
    return _tell_end(invocation, project, run, ended, [*seconds, ended.seconds])


def _tell_end(
    invocation: Invocation, project: str, run: str, ended: ExecutionEnded, seconds: list[float | None]
) -> RunRecord:
    """`seconds` are those of each execution, None where its history is gone; `ended` is the last of them."""
    out, stack = invocation.out, invocation.stack
    record = stack.registry.run(project, run)
    if record is None:
        raise CloudError(f"run {run} of {project} is not in the registry", "was the table emptied?")
    total = round(sum(one for one in seconds if one is not None), 3)
    took = duration(total) + (f" in {len(seconds)} executions" if len(seconds) > 1 else "")
    times = {"seconds": total, "executions_s": seconds}
    if record.status in {"promoted", "rejected"}:
        word = "is the champion now" if record.status == "promoted" else "was rejected; the champion stays"
        style = "bold green" if record.status == "promoted" else "bold yellow"
        accuracy = "" if record.accuracy is None else f", test accuracy {record.accuracy:.4f}"
        accuracy = accuracy if record.mean_iou is None else f", test mean IoU {record.mean_iou:.4f}"
        accuracy = accuracy if record.map50 is None else f", test mAP50 {record.map50:.4f}"
        accuracy = accuracy if record.rmse is None else f", test RMSE {record.rmse:.6g}"
        out.say(f"model {record.model_version or '?'} {word}{accuracy}, after {took}", style)
        out.emit({"event": "run_ended"} | times | record.to_value())
        return record
    out.emit({"event": "run_ended", "execution": ended.status} | times | record.to_value())
    raise _failure(invocation, stack, record, ended)


def _failure(
    invocation: Invocation, stack: Stack, record: RunRecord, ended: ExecutionEnded
) -> RunFailedError:
    """Show the evidence that RecordFailure kept; the sentence comes last, where the eye is."""
    failure = read_failure(stack, record)
    if failure is None:
        what = {"ABORTED": "was stopped", "TIMED_OUT": "took longer than it may"}.get(ended.status, "failed")
        reason = record.reason or ended.cause or ended.error or "no reason was recorded"
        return RunFailedError(
            f"run {record.run} {what}: {reason}",
            f"go on with: lehr resume {record.run}   try anew with: lehr train {record.project}",
        )
    if failure.log_tail:
        invocation.out.say("    the end of the training log:", "dim")
        for line in failure.log_tail[-LOG_TAIL_LINES:]:
            invocation.out.say(Text(f"    | {line}", style="dim"))
    if failure.log_url:
        invocation.out.say(f"    {failure.log_url}", "dim")
    return RunFailedError(
        f"run {record.run} failed in {failure.state}: {failure.reason}",
        f"why, and what to do: lehr why {record.run}   the whole story: lehr report {record.run}",
    )

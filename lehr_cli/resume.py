"""`lehr resume`: a failed run goes on from the step that failed, with all that it has prepared and trained."""

from __future__ import annotations

from lehr_cli.data import show_answer
from lehr_cli.find_run import find_run
from lehr_cli.invocation import Invocation, command
from lehr_cli.train import call_start_run, follow_answer
from lehr_cli.watch import RunArgument


@command
def resume(invocation: Invocation, run: RunArgument = None) -> None:
    """Let a failed or stopped run (default: the latest) go on where it ended, and watch it.

    What it has prepared and trained is not done again. Recipe and code stay those of the run: what has to be changed
    there starts a new run with lehr train.

    Example: lehr resume mnist
    """
    record = find_run(invocation.stack, run)
    answer = call_start_run(invocation, record.project, resume=record.run)
    show_answer(invocation, answer)
    follow_answer(invocation, answer)

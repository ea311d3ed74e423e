"""`lehr approve` and `lehr reject`: what a person says of a run that has passed the gate and waits."""

from __future__ import annotations

from typing import Annotated

import typer

from lehr.contracts.approval import ApprovalAnswer, ApprovalRequest, Verdict
from lehr.errors import UserError
from lehr_cli.call import call_function, caller
from lehr_cli.find_run import find_run
from lehr_cli.invocation import Invocation, command

RunArgument = Annotated[
    str, typer.Argument(help="A run (or its start), or a project: its latest run.", metavar="RUN|PROJECT")
]
CommentOption = Annotated[str, typer.Option(help="What you have looked at; it is kept.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept.", show_default=False)]
MAX_SAID = 500


@command
def approve(invocation: Invocation, run: RunArgument, comment: CommentOption = "") -> None:
    """Let a run that waits promote its model. If the champion has changed meanwhile, it is judged again and asks again.

    Example: lehr approve mnist --comment "looked at the confusions"
    """
    _answer(invocation, run, "approve", comment)


@command
def reject(invocation: Invocation, run: RunArgument, reason: ReasonOption) -> None:
    """Reject the model of a run that waits; the champion stays.

    Example: lehr reject mnist --reason "worse on sevens"
    """
    _answer(invocation, run, "reject", reason)


def _answer(invocation: Invocation, run: str, verdict: Verdict, comment: str) -> None:
    if len(comment) > MAX_SAID:
        raise UserError(f"that has {len(comment)} characters, more than {MAX_SAID}")
    record = find_run(invocation.stack, run)
    request = ApprovalRequest(
        project=record.project, run=record.run, verdict=verdict, by=caller(invocation), comment=comment
    )
    answer = ApprovalAnswer.from_json(call_function(invocation, "AnswerApprovalFunction", request))
    if answer.outcome == "refused":
        raise UserError(answer.reason, hint=answer.hint)
    invocation.out.emit({"event": "approval"} | answer.to_value())
    invocation.out.say(f"{answer.outcome} model {answer.version} of run {answer.run} of {answer.project}")
    invocation.out.note(f"follow it with: lehr watch {answer.run}")

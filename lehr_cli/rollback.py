"""`lehr rollback`: a former champion serves again, within seconds."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

import typer

from lehr.contracts.rollback import RollbackAnswer, RollbackRequest
from lehr.errors import UserError
from lehr_cli.call import call_function, caller
from lehr_cli.invocation import Invocation, command

ProjectArgument = Annotated[
    str, typer.Argument(help="The project whose champion is left.", metavar="PROJECT")
]
VersionArgument = Annotated[
    str | None,
    typer.Argument(help="A former champion, or its start (default: the one before).", metavar="VERSION"),
]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept and told.")]
MAX_REASON = 500


@command
def rollback(
    invocation: Invocation,
    project: ProjectArgument,
    version: VersionArgument = None,
    reason: ReasonOption = "",
) -> None:
    """Make a former champion serve again; by default the one that the present champion has replaced.

    Its package is checked byte by byte before anything moves. `lehr runs PROJECT` lists who has served.

    Example: lehr rollback mnist --reason "p99 doubled"
    """
    if len(reason) > MAX_REASON:
        raise UserError(f"the reason has {len(reason)} characters, more than {MAX_REASON}")
    request = RollbackRequest(
        project=project,
        version=version or "",
        owner=f"rollback-{uuid4().hex[:16]}",
        by=caller(invocation),
        reason=reason,
    )
    with invocation.out.waiting(f"rolling back {project}"):
        answer = RollbackAnswer.from_json(call_function(invocation, "RollbackModelFunction", request))
    if answer.outcome == "refused":
        raise UserError(answer.reason, hint=answer.hint)
    invocation.out.emit({"event": "rollback"} | answer.to_value())
    invocation.out.say(
        f"{answer.champion} is the champion of {project} again, in the place of {answer.previous}"
    )
    invocation.out.note("a warm endpoint answers with it within 30 seconds")
    if answer.untold:
        invocation.out.note(f"done, but nobody could be told: {answer.untold}")

"""What a person says of a run that waits: written first, once, and then passed on to the execution."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec

from lehr import layout
from lehr.clock import iso
from lehr.contracts.approval import Approval, ApprovalAnswer, ApprovalRequest, GivenVerdict, Verdict
from lehr.errors import UserError
from lehr.ports import Approvals, WaitingTasks

_WORDS: dict[Verdict, Literal["approved", "rejected"]] = {"approve": "approved", "reject": "rejected"}
_STATUSES: dict[Verdict, Literal["Approved", "Rejected"]] = {"approve": "Approved", "reject": "Rejected"}
_GONE = "the run had ended before the answer came"


def answer(
    request: ApprovalRequest,
    approvals: Approvals,
    tasks: WaitingTasks,
    *,
    via: Literal["command", "link"] = "command",
    at: datetime | None = None,
) -> ApprovalAnswer:
    """Approve or reject; a refusal (unknown, answered, too late, no reason) changes nothing."""
    try:
        approval = _answered(request, approvals, tasks, via, iso(at or datetime.now(UTC)))
    except UserError as fault:
        return ApprovalAnswer(
            project=request.project,
            run=request.run,
            outcome="refused",
            reason=fault.message,
            hint=fault.hint,
        )
    return ApprovalAnswer(
        project=approval.project,
        run=approval.run,
        outcome=_WORDS[request.verdict],
        version=approval.version,
    )


def refuse_unanswerable(approval: Approval, moment: str) -> None:
    """Raises UserError if a question was answered already, or takes no answers any more."""
    name = f"run {approval.run} of {approval.project}"
    if approval.status != "PendingManualApproval":
        by = f" by {approval.by}" if approval.by else ""
        said = f": {approval.comment}" if approval.comment else ""
        raise UserError(
            f"{name} was {approval.status.lower()} on {approval.answered_at}{by}{said}",
            hint="an answer is given once; `lehr rollback` takes a promotion back",
        )
    if moment >= approval.expires_at:
        raise UserError(
            f"{name} took answers until {approval.expires_at}; it is rejected",
            hint=f"ask for another run: lehr train {approval.project}",
        )


def _answered(
    request: ApprovalRequest,
    approvals: Approvals,
    tasks: WaitingTasks,
    via: Literal["command", "link"],
    moment: str,
) -> Approval:
    project, run = layout.checked_name(request.project), layout.checked_name(request.run)
    if request.verdict == "reject" and not request.comment.strip():
        raise UserError("a rejection says why", hint="the reason is kept with the run")
    approval = approvals.of_run(project, run)
    if approval is None:
        raise UserError(
            f"run {run} of {project} has not asked for approval",
            hint="`lehr runs` shows what waits; [approval] in the recipe says whether a run asks",
        )
    if _is_repeated(approval, request) and _pass_on(approval, request.verdict, tasks):
        return approval
    refuse_unanswerable(approval, moment)
    given = msgspec.structs.replace(
        approval,
        status=_STATUSES[request.verdict],
        answered_at=moment,
        by=request.by,
        via=via,
        comment=request.comment.strip(),
    )
    if not approvals.answer(given):
        refuse_unanswerable(approvals.of_run(project, run) or given, moment)
        raise UserError(
            f"run {run} of {project} has asked anew meanwhile", hint="look with `lehr runs`, and answer again"
        )
    if not _pass_on(given, request.verdict, tasks):
        closed = msgspec.structs.replace(given, status="Rejected", via="nobody", comment=_GONE)
        approvals.answer(closed, was=given.status)
        raise UserError(f"run {run} of {project} waits no more: {_GONE}", hint=f"see: lehr runs {project}")
    return given


def _is_repeated(approval: Approval, request: ApprovalRequest) -> bool:
    """The same answer by the same person: it may have been written and not passed on."""
    said = (approval.status, approval.by, approval.comment)
    return said == (_STATUSES[request.verdict], request.by, request.comment.strip())


def _pass_on(approval: Approval, verdict: Verdict, tasks: WaitingTasks) -> bool:
    by = approval.by or "somebody"
    said = f": {approval.comment}" if approval.comment else ""
    given = GivenVerdict(verdict=verdict, reason=f"{_WORDS[verdict]} by {by}{said}")
    return tasks.go_on(approval.task_token, given.to_json())

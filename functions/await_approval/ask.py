"""Asks a person: writes what waits, and tells those who want to know how to answer."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from lehr.clock import iso
from lehr.contracts.approval import Approval, AwaitRequest
from lehr.errors import OverwriteError
from lehr.http.approval_links import approval_path
from lehr.ports import Approvals, Notices

# What is left of the state's time when the last answer is taken: it still has to reach the execution.
MARGIN_S = 60
_SECRET_BYTES = 32


def ask(
    request: AwaitRequest,
    approvals: Approvals,
    notices: Notices,
    *,
    url: str = "",
    at: datetime | None = None,
) -> tuple[Approval, str]:
    """Write the question and tell it; returns it, and why nobody could be told, if so.

    With `url`, the endpoint's, the notification has a link with a secret, of which only the hash is kept. Raises
    OverwriteError if a retried state finds its question answered.
    """
    moment = at or datetime.now(UTC)
    secret = secrets.token_urlsafe(_SECRET_BYTES) if url else ""
    approval = Approval(
        project=request.project,
        run=request.run,
        version=request.version,
        generation=request.generation,
        status="PendingManualApproval",
        figures=request.figures,
        asked_at=iso(moment),
        expires_at=iso(moment + timedelta(seconds=request.expires_after_s - MARGIN_S)),
        task_token=request.task_token,
        link_sha256=hashlib.sha256(secret.encode()).hexdigest() if secret else "",
    )
    if not approvals.ask(approval):
        raise OverwriteError(f"run {request.run} of {request.project} was answered already")
    link = url + approval_path(approval.project, approval.run, secret) if secret else ""
    return approval, _tell(approval, link, notices)


def _tell(approval: Approval, link: str, notices: Notices) -> str:
    name = f"{approval.run} of {approval.project}"
    message = (
        f"Run {name} has passed the gate and waits for approval until {approval.expires_at}; then it is rejected.\n"
        f"Model version {approval.version}: {approval.figures}\n\n"
        f'lehr --aws approve {approval.run} --comment "…"\n'
        f'lehr --aws reject {approval.run} --reason "…"\n'
    )
    if link:
        message += f"\nOr on this page. Whoever has the link may answer, once:\n{link}\n"
    detail = {
        "project": approval.project,
        "run": approval.run,
        "version": approval.version,
        "expires_at": approval.expires_at,
        "reason": approval.figures,
    }
    try:
        notices.tell(f"Lehr: {approval.project} waits for approval", message)
        notices.announce("ApprovalRequested", detail)
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"
    return ""

"""The two routes of a link: GET asks, POST answers. Both are open, and want the secret that only the link has.

The secret is 256 random bits, of which the registry keeps the hash; that it takes one answer, until a time, is the
question's own state (docs/adr/0037-approval.md).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import parse_qsl

from functions.answer_approval.answer import answer, refuse_unanswerable
from functions.answer_approval.page import show_done, show_question, show_refusal
from lehr import layout
from lehr.clock import iso
from lehr.contracts.approval import Approval, ApprovalRequest
from lehr.errors import UserError
from lehr.http.approval_links import PATH
from lehr.http.gateway import HTML, Answer, Request
from lehr.http.problems import Problem
from lehr.http.routes import Route, RouteTable
from lehr.ports import Approvals, WaitingTasks

_FORM = "application/x-www-form-urlencoded"
_MAX_BODY = 8192
_MAX_NAME = 100
_UNKNOWN = "There is no such link, or it was answered in another way. `lehr runs` shows what waits."


@dataclass(frozen=True)
class Services:
    """What the routes work with; `clock` gives the moment."""

    approvals: Approvals
    tasks: WaitingTasks
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


def respond(request: Request, services: Services) -> Answer:
    """The answer to a request; what has no page is a problem document."""
    try:
        return TABLE.find(request).respond(request, services)
    except Problem as fault:
        return fault.to_answer()


def ask(request: Request, services: Services) -> Answer:
    """The question, with its form. Changes nothing."""
    approval = _meant(request, services)
    if approval is None:
        return show_refusal(HTTPStatus.NOT_FOUND, _UNKNOWN)
    try:
        refuse_unanswerable(approval, iso(services.clock()))
    except UserError as fault:
        return show_refusal(HTTPStatus.GONE, fault.message)
    return show_question(approval)


def take(request: Request, services: Services) -> Answer:
    """What the form says, passed on as `lehr approve` and `lehr reject` do."""
    approval = _meant(request, services)
    if approval is None:
        return show_refusal(HTTPStatus.NOT_FOUND, _UNKNOWN)
    form = _form(request)
    verdict = form.get("verdict", "")
    if verdict not in {"approve", "reject"}:
        return show_question(approval, "Approve or reject it.")
    if verdict == "reject" and not form.get("comment", "").strip():
        return show_question(approval, "A rejection says why.")
    name = form.get("name", "").strip()[:_MAX_NAME] or "somebody"
    source = request.event["requestContext"]["http"].get("sourceIp", "an unknown address")
    said = ApprovalRequest(
        project=approval.project,
        run=approval.run,
        verdict="approve" if verdict == "approve" else "reject",
        by=f"{name} (with the link, from {source})",
        comment=form.get("comment", "").strip()[:500],
    )
    answered = answer(said, services.approvals, services.tasks, via="link", at=services.clock())
    if answered.outcome == "refused":
        return show_refusal(HTTPStatus.GONE, answered.reason)
    return show_done(f"The model was {answered.outcome}", approval)


def _meant(request: Request, services: Services) -> Approval | None:
    """The question that this very link belongs to."""
    try:
        project = layout.checked_name(request.variables["project"])
        run = layout.checked_name(request.variables["run"])
    except UserError:
        return None
    approval = services.approvals.of_run(project, run)
    given = hashlib.sha256(request.variables["secret"].encode("utf-8", "surrogatepass")).hexdigest()
    if approval is None or not approval.link_sha256:
        return None
    return approval if hmac.compare_digest(given, approval.link_sha256) else None


def _form(request: Request) -> dict[str, str]:
    """The fields of a form; of one that is given twice the last counts. Raises Problem."""
    body = request.event.get("body") or ""
    if len(body) > _MAX_BODY:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "size", f"A form has {_MAX_BODY} characters at most."
        )
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media-type", f"This path takes {_FORM} only.")
    try:
        text = (
            base64.b64decode(body, validate=True).decode() if request.event.get("isBase64Encoded") else body
        )
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=10))
    except ValueError as fault:
        raise Problem(HTTPStatus.BAD_REQUEST, "form", "The body is no form.") from fault


ROUTES: tuple[Route[Services], ...] = (
    Route(
        method="GET",
        path=PATH,
        summary="What a run that has passed the gate asks; shows it and changes nothing",
        respond=ask,
        gives={HTML: None},
        is_open=True,
    ),
    Route(
        method="POST",
        path=PATH,
        summary="Approves or rejects the promotion of a run's model, once",
        respond=take,
        takes={_FORM: None},
        gives={HTML: None},
        is_open=True,
    ),
)

TABLE = RouteTable(ROUTES, paths=f"There is {PATH}.")

"""AnswerApproval: approves or rejects what waits, for `lehr approve`, `lehr reject` and the link of a notification.

No state calls it. The command invokes it, and whoever may is up to IAM; a link comes through the endpoint, if the stack
was deployed with ApprovalLinks.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Tracer

from functions.answer_approval.answer import answer
from functions.answer_approval.routes import Services, respond
from lehr.contracts.approval import ApprovalRequest
from lehr.http.gateway import Request
from lehr.http.problems import internal_error
from lehr.settings import Environment

logger = Logger()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    registry_table: str


@cache
def services() -> Services:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_approvals, open_waiting_tasks

    return Services(open_approvals(Settings.read(os.environ).registry_table), open_waiting_tasks())


@logger.inject_lambda_context
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """ApprovalRequest in, ApprovalAnswer out; or API Gateway's payload 2.0 in and out."""
    if "requestContext" not in event:
        answered = answer(ApprovalRequest.from_value(event), services().approvals, services().tasks)
        logger.info("answer", extra=answered.to_value())
        return answered.to_value()
    try:
        return respond(Request(event), services())
    except Exception:
        logger.exception("request failed")
        return internal_error(context.aws_request_id).to_answer()

"""AwaitApproval: asks a person whether a model that passed the gate may be promoted, and leaves the state waiting."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.await_approval.ask import ask
from lehr.contracts.approval import AwaitRequest
from lehr.ports import Approvals, Notices
from lehr.settings import Environment

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    registry_table: str
    notification_topic_arn: str
    approval_url: str = ""


@cache
def adapters() -> tuple[Approvals, Notices, str]:
    """The composition root: adapters are built on the first invocation. The last is where links lead, if anywhere."""
    from lehr.aws.connect import open_approvals, open_notices

    settings = Settings.read(os.environ)
    return (
        open_approvals(settings.registry_table),
        open_notices(settings.notification_topic_arn),
        settings.approval_url,
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """AwaitRequest in; what it gives is ignored, since the state goes on with what a person says."""
    approvals, notices, url = adapters()
    approval, untold = ask(AwaitRequest.from_value(event), approvals, notices, url=url)
    metrics.add_metric(name="ApprovalsAsked", unit=MetricUnit.Count, value=1)
    told = {"project": approval.project, "run": approval.run, "expires_at": approval.expires_at}
    if untold:
        logger.error("nobody could be told", extra=told | {"reason": untold})
    return told

"""StartRun: every trigger comes through here, and the same data, recipe and code start one run only.

Called by the trigger queue (a `_READY` object, delivered at least once) or directly (`lehr train`, a schedule).
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.start_run.start import StartRun
from functions.start_run.triggers import read_message
from lehr.contracts.workflow import StartRequest
from lehr.settings import Environment

NO_BATCH = "none"

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    data_bucket: str
    artifact_bucket: str
    registry_table: str
    state_machine_arn: str
    batch_queue: str
    train_slice_memory_mb: int


@cache
def starter() -> StartRun:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_bucket, open_executions, open_registry

    settings = Settings.read(os.environ)
    return StartRun(
        data=open_bucket(settings.data_bucket),
        artifacts=open_bucket(settings.artifact_bucket),
        registry=open_registry(settings.registry_table),
        executions=open_executions(settings.state_machine_arn),
        has_batch=settings.batch_queue != NO_BATCH,
        function_memory_mb=settings.train_slice_memory_mb,
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """An SQS batch gives a partial-failure answer; a StartRequest gives a StartAnswer."""
    if "Records" not in event:
        return start(StartRequest.from_value(event))
    failures = []
    for record in event["Records"]:
        try:
            start(read_message(record["body"], starter().data))
        except Exception:
            # One message's fault must not hold up the others; the queue delivers it again, then to the DLQ.
            logger.exception("trigger failed", extra={"message_id": record["messageId"]})
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def start(request: StartRequest) -> dict[str, Any]:
    answer = starter().start(request)
    metrics.add_metric(name=f"Runs_{answer.outcome}", unit=MetricUnit.Count, value=1)
    logger.info("trigger answered", extra=answer.to_value())
    return answer.to_value()

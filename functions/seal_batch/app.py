"""SealBatch: joins what the units of a batch have predicted, or records why there is nothing to join."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.seal_batch.seal import seal
from lehr.contracts.batch_prediction import SealBatchRequest, SealedBatch
from lehr.ports import ObjectStore
from lehr.settings import Environment

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str


@cache
def artifacts() -> ObjectStore:
    """The composition root: the adapter is built on the first invocation."""
    from lehr.aws.connect import open_bucket

    return open_bucket(Settings.read(os.environ).artifact_bucket)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """SealBatchRequest in, SealedBatch out; the document goes to S3."""
    result = seal(SealBatchRequest.from_value(event), artifacts())
    metrics.add_metric(name=f"Batches_{result.status}", unit=MetricUnit.Count, value=1)
    logger.info("sealed", extra={"project": result.project, "batch": result.batch, "status": result.status})
    return SealedBatch(status=result.status, rows=result.rows, refused_units=result.refused_units).to_value()

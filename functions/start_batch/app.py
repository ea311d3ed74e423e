"""StartBatch: the HTTPS routes of batch predictions. Starts an asynchronous run over files, and says how far it is.

POST /predict/batch/{project} and GET /predict/batch/{project}/{batch}; docs/batch.md has the documents.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from functions.start_batch.routes import Services, respond
from functions.start_batch.start import StartBatch
from lehr.contracts.batch_prediction import Batch
from lehr.http.gateway import Answer, Request
from lehr.http.problems import internal_error
from lehr.settings import Environment

logger = Logger()
metrics = Metrics()


class Settings(Environment, frozen=True, kw_only=True):
    data_bucket: str
    artifact_bucket: str
    registry_table: str
    state_machine_arn: str


@cache
def starter() -> StartBatch:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.clients import ENDPOINT_CONFIG
    from lehr.aws.connect import open_bucket, open_executions, open_registry
    from lehr.aws.presigned_urls import open_presigned_urls

    settings = Settings.read(os.environ)
    return StartBatch(
        data=open_bucket(settings.data_bucket, ENDPOINT_CONFIG),
        artifacts=open_bucket(settings.artifact_bucket, ENDPOINT_CONFIG),
        registry=open_registry(settings.registry_table, ENDPOINT_CONFIG),
        executions=open_executions(settings.state_machine_arn),
        uploads=open_presigned_urls(settings.data_bucket),
        results=open_presigned_urls(settings.artifact_bucket),
    )


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> Answer:
    """API Gateway payload 2.0 in and out. Whatever was not foreseen is one 500 with the request's id."""
    try:
        return respond(Request(event), Services(starter, _note_started))
    except Exception:
        logger.exception("request failed")
        return internal_error(context.aws_request_id).to_answer()


def _note_started(batch: Batch) -> None:
    metrics.add_metric(name="BatchesStarted", unit=MetricUnit.Count, value=1)
    logger.info("batch started", extra=batch.to_value())

"""WriteReport: one HTML file that tells a run from its verdict to its lineage, also when the run has failed."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.write_report.report import WriteReport
from lehr.contracts.workflow import ReportRequest
from lehr.settings import Environment

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str
    registry_table: str


@cache
def writer() -> WriteReport:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.clients import make_client
    from lehr.aws.connect import open_bucket, open_registry

    settings = Settings.read(os.environ)
    return WriteReport(
        artifacts=open_bucket(settings.artifact_bucket),
        registry=open_registry(settings.registry_table),
        executions=make_client("stepfunctions"),
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, str]:
    """ReportRequest in; the key of the report out."""
    key = writer().write(ReportRequest.from_value(event))
    metrics.add_metric(name="ReportsWritten", unit=MetricUnit.Count, value=1)
    logger.info("report written", extra={"key": key})
    return {"report": key}

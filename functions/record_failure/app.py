"""RecordFailure: turns what a Catch saw into one sentence with its evidence, and ends the run."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.record_failure.explain import RecordFailure
from lehr.contracts.workflow import FailureRequest
from lehr.settings import Environment

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str
    registry_table: str


@cache
def recorder() -> RecordFailure:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_bucket, open_registry, open_training_logs

    settings = Settings.read(os.environ)
    return RecordFailure(
        artifacts=open_bucket(settings.artifact_bucket),
        registry=open_registry(settings.registry_table),
        logs=open_training_logs(),
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """FailureRequest in, Failure out; failure.json is written and the run's record ended."""
    failure = recorder().record(FailureRequest.from_value(event))
    metrics.add_metric(name="RunsFailed", unit=MetricUnit.Count, value=1)
    logger.error("run failed", extra={"run": failure.run, "state": failure.state, "reason": failure.reason})
    return failure.to_value()

"""CompareReproduction: a model that was trained again beside the one that was published."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.compare_reproduction.compare import compare
from lehr import layout
from lehr.contracts.reproduction import CompareRequest
from lehr.ports import ObjectStore
from lehr.settings import Environment

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str


@cache
def artifacts() -> ObjectStore:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_bucket

    return open_bucket(Settings.read(os.environ).artifact_bucket)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """CompareRequest in, Comparison out. Raises ModelPackageError for a package that is not what was published."""
    request = CompareRequest.from_value(event)
    comparison = compare(request, artifacts())
    artifacts().put(
        layout.reproduction_key(request.project, request.run),
        comparison.to_json(),
        content_type="application/json",
    )
    metrics.add_metric(name="ModelsReproduced", unit=MetricUnit.Count, value=1)
    logger.info("compared", extra={"model_version": request.version, "outcome": comparison.outcome})
    return comparison.to_value()

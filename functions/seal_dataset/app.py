"""SealDataset: gathers the units' shards into an immutable dataset version, the manifest last."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.seal_dataset.seal import seal
from lehr.contracts.workflow import SealRequest
from lehr.ports import ModelRegistry, ObjectStore
from lehr.settings import Environment

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str
    registry_table: str


@cache
def adapters() -> tuple[ObjectStore, ModelRegistry]:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_bucket, open_registry

    settings = Settings.read(os.environ)
    return (
        open_bucket(settings.artifact_bucket),
        open_registry(settings.registry_table),
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """SealRequest in, SealedDataset out."""
    request = SealRequest.from_value(event)
    artifacts, registry = adapters()
    sealed = seal(request, artifacts, registry)
    metrics.add_metric(name="DatasetRows", unit=MetricUnit.Count, value=sum(sealed.rows.values()))
    return sealed.to_value()

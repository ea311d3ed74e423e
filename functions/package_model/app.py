"""PackageModel: picks the best trial, publishes its model package, and plans the evaluation against the champion."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.package_model.publish import package_best_trial
from functions.package_model.serving import prepare_serving, read_rows
from lehr.contracts.workflow import PackageRequest
from lehr.ports import ModelRegistry, ObjectStore, PackageSigner
from lehr.settings import Environment

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str
    registry_table: str
    signing_key: str = ""


@cache
def adapters() -> tuple[ObjectStore, ModelRegistry, PackageSigner | None]:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_bucket, open_registry, open_signer

    settings = Settings.read(os.environ)
    return (
        open_bucket(settings.artifact_bucket),
        open_registry(settings.registry_table),
        open_signer(settings.signing_key),
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """PackageRequest in, PackagedModel out. Raises NoCompletedTrialError with the trials' causes."""
    request = PackageRequest.from_value(event)
    artifacts, registry, signer = adapters()

    def prepare(trained: dict[str, bytes]) -> dict[str, bytes]:
        return prepare_serving(
            trained, read_rows(request.project, request.dataset_version, artifacts), logger
        )

    packaged = package_best_trial(request, artifacts, registry, prepare, signer)
    metrics.add_metric(name="ModelsPackaged", unit=MetricUnit.Count, value=1)
    return packaged.to_value()

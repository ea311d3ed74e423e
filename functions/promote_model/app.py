"""PromoteModel: moves the champion pointer, the one mutable item, by one conditional write."""

from __future__ import annotations

import os
from functools import cache, partial
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.promote_model.promote import Check, promote
from lehr.contracts.workflow import PromoteRequest
from lehr.model_packages import check_package
from lehr.ports import ModelRegistry
from lehr.settings import Environment

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str
    registry_table: str
    signing_key: str = ""


@cache
def adapters() -> tuple[ModelRegistry, Check]:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_bucket, open_registry, open_verifier

    settings = Settings.read(os.environ)
    artifacts, verifier = open_bucket(settings.artifact_bucket), open_verifier(settings.signing_key)
    return open_registry(settings.registry_table), partial(check_package, artifacts, verifier=verifier)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """PromoteRequest in, Promotion out. Raises ChampionChangedError when another run promoted first,
    ModelPackageError for a package that must not be loaded."""
    moves, check = adapters()
    promotion = promote(PromoteRequest.from_value(event), moves, check)
    is_promoted = promotion.champion == event["version"]
    metrics.add_metric(name="ModelsPromoted", unit=MetricUnit.Count, value=int(is_promoted))
    logger.info("moved", extra=promotion.to_value())
    return promotion.to_value()

"""PromoteModel: moves the champion pointer, the one mutable item, by one conditional write."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.promote_model.promote import promote
from lehr.contracts.workflow import PromoteRequest
from lehr.ports import ModelRegistry
from lehr.settings import Environment

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    registry_table: str


@cache
def registry() -> ModelRegistry:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_registry

    return open_registry(Settings.read(os.environ).registry_table)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """PromoteRequest in, Promotion out. Raises ChampionChangedError when another run promoted first."""
    promotion = promote(PromoteRequest.from_value(event), registry())
    is_promoted = promotion.champion == event["version"]
    metrics.add_metric(name="ModelsPromoted", unit=MetricUnit.Count, value=int(is_promoted))
    logger.info("moved", extra=promotion.to_value())
    return promotion.to_value()

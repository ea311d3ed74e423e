"""WatchCanary: looks at what the endpoint has measured of a candidate and of the champion, and says how it goes on."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Tracer

from functions.watch_canary.watch import watch
from lehr.contracts.workflow import WatchRequest
from lehr.ports import ChampionPointers, EndpointFigures
from lehr.settings import Environment

logger = Logger()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    registry_table: str


@cache
def adapters() -> tuple[ChampionPointers, EndpointFigures]:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_endpoint_figures, open_registry

    settings = Settings.read(os.environ)
    return (
        open_registry(settings.registry_table),
        open_endpoint_figures(os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "Lehr")),
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """WatchRequest in, WatchedCanary out. Raises ChampionChangedError when the alias was moved meanwhile."""
    watched = watch(WatchRequest.from_value(event), *adapters())
    logger.info("watched", extra=watched.to_value())
    return watched.to_value()

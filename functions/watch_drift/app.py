"""WatchDrift: every hour, what the endpoint was asked beside what its champions were trained on."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from functions.watch_drift.watch import WatchDrift
from lehr.clock import now
from lehr.errors import WatchError
from lehr.settings import Environment

logger = Logger()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str
    registry_table: str
    predict_log: str


@cache
def watcher() -> WatchDrift:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_bucket, open_captured_lines, open_events, open_registry

    settings = Settings.read(os.environ)
    return WatchDrift(
        artifacts=open_bucket(settings.artifact_bucket),
        registry=open_registry(settings.registry_table),
        lines=open_captured_lines(settings.predict_log),
        events=open_events(),
        logger=logger,  # type: ignore[arg-type]
        clock=now,
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """A scheduled event, or `{"project": …}` for one project, in; how each project stands out.

    Raises WatchError if a project could not be looked at.
    """
    look = watcher().look(str(event.get("project", "")))
    if look.told:
        # Not at every look: a metric is paid for in every month that it is sent in.
        with single_metric(name="DriftFound", unit=MetricUnit.Count, value=len(look.told)):
            pass
    low = 0
    for name, report in look.reports.items():
        live = next((one for one in report.live if one.model_version == report.model_version), None)
        if live is not None:
            low += live.is_low
            with single_metric(
                name="LiveAccuracy", unit=MetricUnit.Percent, value=100 * live.accuracy
            ) as metric:
                metric.add_dimension(name="project", value=name)
    if low:
        with single_metric(name="LiveAccuracyLow", unit=MetricUnit.Count, value=low):
            pass
    stands = {name: {"status": one.status, "reason": one.reason} for name, one in look.reports.items()}
    logger.info("looked", extra={"stands": stands})
    if look.failed:
        raise WatchError(f"not looked at: {', '.join(look.failed)}")
    return {"projects": stands, "told": look.told}

"""StopOrphans: every few minutes, stops the training jobs that have outlived their execution."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from functions.stop_orphans.stop import StopOrphans
from lehr.errors import OrphanError
from lehr.settings import Environment

NO_BATCH = "none"

logger = Logger()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    job_prefix: str
    registry_table: str
    state_machine_arn: str
    job_queues: str


@cache
def stopper() -> StopOrphans:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_executions, open_registry, open_running_jobs

    settings = Settings.read(os.environ)
    queues = settings.job_queues.split() if settings.job_queues != NO_BATCH else []
    return StopOrphans(
        backends=open_running_jobs(settings.job_prefix, queues),
        executions=open_executions(settings.state_machine_arn),
        registry=open_registry(settings.registry_table),
        logger=logger,  # type: ignore[arg-type]
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """A scheduled event in, what was seen and stopped out. Raises OrphanError if a job could not be stopped."""
    found = stopper().look()
    if found.stopped:
        # Not at every look: a metric is paid for in every month that it is sent in.
        with single_metric(name="OrphansStopped", unit=MetricUnit.Count, value=len(found.stopped)):
            pass
    if found.failed:
        raise OrphanError(f"still running: {', '.join(found.failed)}")
    return asdict(found)

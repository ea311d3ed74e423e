"""ProposeTrials: records what a round of trials has come to, and proposes the next."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.propose_trials.propose import propose
from lehr.contracts.workflow import ProposeRequest
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
    """ProposeRequest in, ProposedTrials out."""
    proposed = propose(ProposeRequest.from_value(event), artifacts())
    metrics.add_metric(name="TrialsProposed", unit=MetricUnit.Count, value=len(proposed.trials))
    return proposed.to_value()

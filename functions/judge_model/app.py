"""JudgeModel: adds up the shards' statistics and applies the recipe's gate."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.judge_model.judge import judge
from lehr.contracts.workflow import JudgeRequest
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
    """JudgeRequest in, Judgement out; evaluation.json and decision.json are written on the way."""
    judgement = judge(JudgeRequest.from_value(event), artifacts())
    measured = {
        "CandidateAccuracy": judgement.accuracy,
        "CandidateRmse": judgement.rmse,
        "CandidateMeanIou": judgement.mean_iou,
        "CandidateMap50": judgement.map50,
    }
    for name, value in measured.items():
        if value is not None:
            metrics.add_metric(name=name, unit=MetricUnit.NoUnit, value=value)
    return judgement.to_value()

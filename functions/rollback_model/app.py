"""RollbackModel: a former champion serves again, by the same conditional write as a promotion's.

No state calls it: people do, with `lehr rollback`, who need lambda:InvokeFunction here and nothing else.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.rollback_model.rollback import roll_back
from lehr.contracts.rollback import RollbackRequest
from lehr.ports import ModelRegistry, Notices, ObjectStore, PackageVerifier
from lehr.settings import Environment

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str
    registry_table: str
    notification_topic_arn: str
    signing_key: str = ""


@cache
def adapters() -> tuple[ObjectStore, ModelRegistry, Notices, PackageVerifier | None]:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_bucket, open_notices, open_registry, open_verifier

    settings = Settings.read(os.environ)
    return (
        open_bucket(settings.artifact_bucket),
        open_registry(settings.registry_table),
        open_notices(settings.notification_topic_arn),
        open_verifier(settings.signing_key),
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """RollbackRequest in, RollbackAnswer out: what a person can put right is an answer, and no error."""
    answer = roll_back(RollbackRequest.from_value(event), *adapters())
    metrics.add_metric(
        name="ModelsRolledBack", unit=MetricUnit.Count, value=int(answer.outcome == "rolled_back")
    )
    logger.info("rollback", extra=answer.to_value())
    return answer.to_value()

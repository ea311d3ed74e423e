"""PredictBatchUnit: some rows of a batch through its model. One call for each unit of the plan, in parallel."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.predict_batch_unit.predict import predict_unit
from lehr.contracts.batch_prediction import BatchUnit
from lehr.ports import ObjectStore
from lehr.settings import Environment
from lehr_runtime.packages import LoadedModel, load_package
from lehr_runtime.session import MEMORY_MB_PER_VCPU, threads_for_memory

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    data_bucket: str
    artifact_bucket: str
    pii_key: str = ""
    signing_key: str = ""


@cache
def dependencies() -> tuple[ObjectStore, ObjectStore, Callable[[str, str], LoadedModel], str]:
    """The composition root: two buckets, a loader that keeps the models of the last few units, the pseudonyms' key."""
    from lehr.aws.connect import open_bucket, open_verifier

    settings = Settings.read(os.environ)
    artifacts = open_bucket(settings.artifact_bucket)
    verifier = open_verifier(settings.signing_key)
    directory = Path(tempfile.mkdtemp(prefix="lehr-models-"))
    threads = threads_for_memory(int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", MEMORY_MB_PER_VCPU)))

    @lru_cache(maxsize=2)
    def load(project: str, version: str) -> LoadedModel:
        return load_package(
            artifacts, project, version, directory=directory, threads=threads, verifier=verifier
        )

    return open_bucket(settings.data_bucket), artifacts, load, settings.pii_key


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """BatchUnit in, its index and number of rows out; predictions and reasons go to S3."""
    unit = BatchUnit.from_value(event)
    begin = perf_counter()
    result = predict_unit(unit, *dependencies())
    seconds = round(perf_counter() - begin, 3)
    metrics.add_metric(name="BatchRowsPredicted", unit=MetricUnit.Count, value=result.rows)
    told = {"project": unit.project, "batch": unit.batch, "index": unit.index, "seconds": seconds}
    logger.info("predicted", extra={**told, "rows": result.rows, "refused": result.refused})
    return {"index": result.index, "rows": result.rows}

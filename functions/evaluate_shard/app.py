"""EvaluateShard: one test shard through the candidate and the champion, in the runtime that will serve them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from functions.evaluate_shard.evaluate import evaluate
from lehr.contracts.evaluation import EvaluateUnit
from lehr.ports import ObjectStore
from lehr.settings import Environment
from lehr_runtime.packages import LoadedModel, load_package
from lehr_runtime.session import MEMORY_MB_PER_VCPU, threads_for_memory

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str
    signing_key: str = ""


@cache
def dependencies() -> tuple[ObjectStore, Callable[[str, str], LoadedModel]]:
    """The composition root: the store, and a loader that keeps the models of the last few units."""
    from lehr.aws.connect import open_bucket, open_verifier

    settings = Settings.read(os.environ)
    store, verifier = open_bucket(settings.artifact_bucket), open_verifier(settings.signing_key)
    directory = Path(tempfile.mkdtemp(prefix="lehr-models-"))
    threads = threads_for_memory(int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", MEMORY_MB_PER_VCPU)))

    @lru_cache(maxsize=4)
    def load(project: str, version: str) -> LoadedModel:
        return load_package(store, project, version, directory=directory, threads=threads, verifier=verifier)

    return store, load


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """EvaluateUnit in, its index and number of rows out; the counts go to S3."""
    unit = EvaluateUnit.from_value(event)
    store, load = dependencies()
    result = evaluate(unit, store, load)
    metrics.add_metric(name="RowsEvaluated", unit=MetricUnit.Count, value=result.candidate.rows)
    logger.info("evaluated", extra={"project": unit.project, "run": unit.run, "index": unit.index})
    return {"index": result.index, "rows": result.candidate.rows}

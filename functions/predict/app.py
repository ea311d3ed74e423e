"""Predict: the HTTPS endpoint. Raw inputs in, labels with probabilities out, by the project's champion.

No Tracer: importing the X-Ray SDK brings botocore along and was nearly half of this module's import
(0.23 of 0.50 s). Active tracing of the function itself needs no SDK.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.metrics import MetricUnit

from functions.predict.answers import describe_champion, describe_predictions, to_response
from functions.predict.champions import Champions
from functions.predict.problems import Problem, as_problem, internal_error, no_route
from functions.predict.requests import parse_inputs, read_body
from functions.predict.snapshots import is_for_snapshot, prepare_snapshot
from lehr.errors import NoChampionError, UnknownProjectError
from lehr.settings import Environment
from lehr_runtime.packages import load_package
from lehr_runtime.session import MEMORY_MB_PER_VCPU, threads_for_memory

logger = Logger()
metrics = Metrics()
app = APIGatewayHttpResolver()


@dataclass(frozen=True, kw_only=True)
class Settings(Environment):
    artifact_bucket: str
    registry_table: str
    warm_projects: str = ""


@cache
def champions() -> Champions:
    """The composition root: no boto3, on the way here nor later."""
    from lehr.aws.readers import open_readers

    settings = Settings.read(os.environ)
    store, registry = open_readers(settings.artifact_bucket, settings.registry_table)
    load = partial(
        load_package,
        store,
        directory=Path(tempfile.mkdtemp(prefix="lehr-models-")),
        threads=threads_for_memory(
            int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", MEMORY_MB_PER_VCPU))
        ),
    )
    on_fallback = partial(metrics.add_metric, name="ChampionFallbacks", unit=MetricUnit.Count, value=1)
    opened = Champions(store, registry, load, logger, on_fallback=on_fallback)
    if is_for_snapshot(os.environ):
        prepare_snapshot(opened, settings.warm_projects, [store, registry], logger)
    return opened


if is_for_snapshot(os.environ):
    champions()


@app.post("/predict/<project>")
def predict(project: str) -> Response[str]:
    begin = perf_counter()
    body = read_body(app.current_event.raw_event)
    model = champions().get(project).model
    probabilities = model.predictor.predict(parse_inputs(body, model.signature.input))
    latency_ms = (perf_counter() - begin) * 1000
    metrics.add_metric(name="RowsPredicted", unit=MetricUnit.Count, value=len(probabilities))
    metrics.add_metric(name="PredictLatency", unit=MetricUnit.Milliseconds, value=latency_ms)
    return to_response(
        {
            "project": project,
            "model_version": model.version,
            "predictions": describe_predictions(probabilities, model.signature.labels),
            "latency_ms": round(latency_ms, 3),
        }
    )


@app.get("/models/<project>")
def get_model(project: str) -> Response[str]:
    return to_response(describe_champion(project, champions().get(project)))


@app.get("/health")
def get_health() -> Response[str]:
    """Answers without S3 or DynamoDB: whether the function runs, not whether a model serves."""
    return to_response({"status": "ok"})


@app.exception_handler([Problem, UnknownProjectError, NoChampionError])  # type: ignore[untyped-decorator]
def answer_refusal(fault: Exception) -> Response[str]:
    return as_problem(fault).to_response()


@app.not_found
def answer_no_route(fault: NotFoundError) -> Response[str]:
    return no_route(app.current_event.http_method, app.current_event.path).to_response()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """API Gateway payload 2.0 in and out. Whatever was not foreseen is one 500 with the request's id."""
    metrics.add_metric(name="Requests", unit=MetricUnit.Count, value=1)
    try:
        return app.resolve(event, context)
    except Exception:
        logger.exception("request failed")
        return internal_error(context.aws_request_id).to_answer()

"""StartBatch: the HTTPS routes of batch predictions. Starts an asynchronous run over files, and says how far it is.

POST /predict/batch/{project} and GET /predict/batch/{project}/{batch}; docs/batch.md has the documents.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.metrics import MetricUnit

from functions.start_batch.problems import Problem, as_problem, internal_error, unknown_batch
from functions.start_batch.start import StartBatch, read_request
from lehr.errors import NoChampionError, UserError
from lehr.settings import Environment

logger = Logger()
metrics = Metrics()
app = APIGatewayHttpResolver()


@dataclass(frozen=True, kw_only=True)
class Settings(Environment):
    data_bucket: str
    artifact_bucket: str
    registry_table: str
    state_machine_arn: str


@cache
def starter() -> StartBatch:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.clients import ENDPOINT_CONFIG
    from lehr.aws.connect import open_bucket, open_executions, open_registry
    from lehr.aws.presigned_urls import open_presigned_urls

    settings = Settings.read(os.environ)
    return StartBatch(
        data=open_bucket(settings.data_bucket, ENDPOINT_CONFIG),
        artifacts=open_bucket(settings.artifact_bucket, ENDPOINT_CONFIG),
        registry=open_registry(settings.registry_table, ENDPOINT_CONFIG),
        executions=open_executions(settings.state_machine_arn),
        uploads=open_presigned_urls(settings.data_bucket),
        results=open_presigned_urls(settings.artifact_bucket),
    )


@app.post("/predict/batch/<project>")
def start(project: str) -> Response[str]:
    """200 with an address for an upload, or 202 with the batch and where its progress is."""
    event = app.current_event
    request = read_request(event.body, is_encoded=bool(event.is_base64_encoded))
    if not request.input and not request.batch:
        return _to_response(HTTPStatus.OK, starter().offer_upload(project))
    batch = starter().start(project, request)
    metrics.add_metric(name="BatchesStarted", unit=MetricUnit.Count, value=1)
    logger.info("batch started", extra=batch.to_value())
    url = f"https://{event.headers['host']}/predict/batch/{project}/{batch.batch}"
    answer = {"batch": batch.batch, "status_url": url, "units": batch.units, "rows": batch.rows}
    return _to_response(HTTPStatus.ACCEPTED, answer)


@app.get("/predict/batch/<project>/<batch>")
def describe(project: str, batch: str) -> Response[str]:
    """200: running, done with the addresses of the result, or failed with the reason."""
    try:
        return _to_response(HTTPStatus.OK, starter().describe(project, batch))
    except UserError as fault:  # what cannot be a name is none
        raise unknown_batch() from fault


@app.exception_handler([Problem, UserError, NoChampionError])  # type: ignore[untyped-decorator]
def answer_refusal(fault: Exception) -> Response[str]:
    return as_problem(fault).to_response()


@app.not_found
def answer_no_route(fault: NotFoundError) -> Response[str]:
    detail = "There are POST /predict/batch/{project} and GET /predict/batch/{project}/{batch}."
    return Problem(HTTPStatus.NOT_FOUND, "unknown-route", detail).to_response()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """API Gateway payload 2.0 in and out. Whatever was not foreseen is one 500 with the request's id."""
    try:
        return app.resolve(event, context)
    except Exception:
        logger.exception("request failed")
        return internal_error(context.aws_request_id).to_answer()


def _to_response(status: HTTPStatus, answer: dict[str, Any]) -> Response[str]:
    body = msgspec.json.encode(answer).decode()
    return Response(status_code=status.value, content_type="application/json", body=body)

"""The routes of batch predictions, in one table; docs/batch.md has the documents."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from functions.start_batch.answers import BatchProgress, BatchStarted, UploadAddress
from functions.start_batch.start import StartBatch
from lehr.contracts.batch_prediction import Batch, BatchRequest
from lehr.errors import NoChampionError, UnknownProjectError, UserError
from lehr.http.gateway import JSON, Answer, Request, accepted_answer, json_answer
from lehr.http.problems import Problem, as_problem
from lehr.http.routes import Route, RouteTable


@dataclass(frozen=True)
class Services:
    """What routes work with; `on_started` is told of each batch that was started."""

    starter: Callable[[], StartBatch]
    on_started: Callable[[Batch], None]


def respond(request: Request, services: Services) -> Answer:
    """The answer to a request, or its refusal as a problem document."""
    try:
        return TABLE.find(request).respond(request, services)
    except (Problem, UserError, NoChampionError) as fault:
        if isinstance(fault, UserError) and not isinstance(fault, UnknownProjectError):
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "batch-input", str(fault)).to_answer()
        return as_problem(fault).to_answer()


def start_batch(request: Request, services: Services) -> Answer:
    """200 with an address for an upload, or 202 with the batch and where its progress is."""
    project, asked = request.variables["project"], read_request(request.event)
    if not asked.input and not asked.batch:
        return json_answer(services.starter().offer_upload(project))
    batch = services.starter().start(project, asked)
    services.on_started(batch)
    url = f"https://{request.headers['host']}/predict/batch/{project}/{batch.batch}"
    return accepted_answer(BatchStarted(batch.batch, url, batch.units, batch.rows))


def get_batch(request: Request, services: Services) -> Answer:
    """200: running, done with the addresses of the result, or failed with the reason."""
    try:
        progress = services.starter().describe(request.variables["project"], request.variables["batch"])
    except UserError as fault:  # what cannot be a name is none
        raise unknown_batch() from fault
    if progress is None:
        raise unknown_batch()
    return json_answer(progress)


def read_request(event: Mapping[str, Any]) -> BatchRequest:
    """The body of a POST, base64 or text; none at all, and an object without fields, ask for an upload."""
    body = event.get("body") or ""
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
        return msgspec.json.decode(raw, type=BatchRequest) if raw.strip() else BatchRequest()
    except (msgspec.DecodeError, RecursionError, ValueError) as fault:  # ValueError: no base64, or no UTF-8
        raise UserError(
            f"the body is no request: {fault}",
            hint='send {"input": "s3://<data bucket>/batches/<project>/…"}',
        ) from fault


def unknown_batch() -> Problem:
    """For an id that names no batch; an upload's is one only after it was started."""
    return Problem(
        HTTPStatus.NOT_FOUND,
        "unknown-batch",
        'No batch of that id was started, or its results have expired. An upload is started with {"batch": id}; '
        "the answer has the batch's own id.",
    )


ROUTES: tuple[Route[Services], ...] = (
    Route(
        method="POST",
        path="/predict/batch/{project}",
        summary="Predictions for whole files: an address for an upload, or the batch that was started",
        respond=start_batch,
        takes={JSON: BatchRequest},
        gives={JSON: UploadAddress},
        also_gives={HTTPStatus.ACCEPTED: BatchStarted},
    ),
    Route(
        method="GET",
        path="/predict/batch/{project}/{batch}",
        summary="How far a batch is, and its result",
        respond=get_batch,
        gives={JSON: BatchProgress},
    ),
)

TABLE = RouteTable(
    ROUTES, paths="There are POST /predict/batch/{project} and GET /predict/batch/{project}/{batch}."
)

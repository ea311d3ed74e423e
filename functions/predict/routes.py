"""The routes of predictions and of what the endpoint says of itself; those of batches are start_batch's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import msgspec

from functions.predict import open_inference as protocol
from functions.predict import pages
from functions.predict.answers import Predictions, describe_predictions, read_top_k
from functions.predict.bodies import MAX_BINARY_BYTES, MAX_BODY_BYTES, read_body
from functions.predict.catalogue import Catalogue, ModelDescription, ModelList
from functions.predict.champions import Champion, Champions
from functions.predict.media import decode_csv, decode_images
from functions.predict.requests import MAX_BATCH, parse_inputs
from lehr.errors import NoChampionError, UnknownProjectError
from lehr.http.gateway import JSON, Answer, Request, json_answer
from lehr.http.problems import Problem, as_problem
from lehr.http.routes import Route, RouteTable

CSV = "text/csv"
PREDICT_LIMITS = {
    JSON: MAX_BODY_BYTES,
    "image/png": MAX_BINARY_BYTES,
    "image/jpeg": MAX_BINARY_BYTES,
    CSV: MAX_BODY_BYTES,
}
REFUSALS = (Problem, UnknownProjectError, NoChampionError)


@dataclass(frozen=True)
class Services:
    """What routes work with; each is built when it is first asked for."""

    champions: Callable[[], Champions]
    catalogue: Callable[[], Catalogue]


class Health(msgspec.Struct):
    """The answer to GET /health."""

    status: str


class Live(msgspec.Struct):
    """The answer to GET /v2/health/live."""

    live: bool


class Ready(msgspec.Struct):
    """The answer to GET /v2/health/ready."""

    ready: bool


class ModelReady(msgspec.Struct):
    """The answer to …/ready of a model."""

    name: str
    ready: bool


def respond(request: Request, services: Services) -> Answer:
    """The answer to a request, or the refusal in the form that its path speaks."""
    try:
        return TABLE.find(request).respond(request, services)
    except REFUSALS as fault:
        problem = as_problem(fault)
        return problem.to_protocol_answer() if is_protocol(request.path) else problem.to_answer()


def is_protocol(path: str) -> bool:
    """Whether errors at this path are those of the Open Inference Protocol."""
    return path == "/v2" or path.startswith("/v2/")


def predict(request: Request, services: Services) -> Answer:
    begin = perf_counter()
    kind, raw = read_body(request, PREDICT_LIMITS)
    project = request.variables["project"]
    model = services.champions().get(project).model
    spec, labels = model.signature.input, model.signature.labels
    top_k = read_top_k(request.query(), len(labels))
    if kind == JSON:
        batch = parse_inputs(raw, spec)
    elif kind == CSV:
        batch = decode_csv(raw, spec, max_rows=MAX_BATCH)
    else:
        batch = decode_images([("image", raw)], spec)
    probabilities = model.predictor.predict(batch)
    predictions = describe_predictions(probabilities, labels, top_k=top_k)
    latency_ms = (perf_counter() - begin) * 1000
    request.predicted = len(batch), latency_ms
    return json_answer(Predictions(project, model.version, predictions, round(latency_ms, 3)))


def infer(request: Request, services: Services) -> Answer:
    begin = perf_counter()
    name, model = request.variables["model"], _asked_for(request, services).model
    asked, batch = protocol.read_infer(request, model.signature)
    probabilities = model.predictor.predict(batch)
    answer = protocol.answer_infer(
        asked, probabilities, model=name, version=model.version, signature=model.signature
    )
    request.predicted = len(batch), (perf_counter() - begin) * 1000
    return answer


def get_model_metadata(request: Request, services: Services) -> Answer:
    model = _asked_for(request, services).model
    return json_answer(protocol.describe_model(request.variables["model"], model.version, model.signature))


def get_model_ready(request: Request, services: Services) -> Answer:
    _asked_for(request, services)
    return json_answer(ModelReady(request.variables["model"], True))


def get_models(request: Request, services: Services) -> Answer:
    return json_answer(services.catalogue().serving())


def get_model(request: Request, services: Services) -> Answer:
    project = request.variables["project"]
    champion = services.champions().get(project)
    return json_answer(services.catalogue().describe(project, champion))


def get_server(request: Request, services: Services) -> Answer:
    return json_answer(protocol.describe_server())


def get_health(request: Request, services: Services) -> Answer:
    """Answers without S3 or DynamoDB: whether the function runs, not whether a model serves."""
    return json_answer(Health("ok"))


def get_live(request: Request, services: Services) -> Answer:
    return json_answer(Live(True))


def get_ready(request: Request, services: Services) -> Answer:
    return json_answer(Ready(True))


def _asked_for(request: Request, services: Services) -> Champion:
    champion = services.champions().get(request.variables["model"])
    protocol.check_version(request.variables.get("version"), champion.model.version)
    return champion


def _of_model(
    method: str,
    rest: str,
    summary: str,
    respond: Callable[[Request, Services], Answer],
    gives: Mapping[str, type | None],
    takes: Mapping[str, type | None] | None = None,
) -> tuple[Route[Services], Route[Services]]:
    """A route of the protocol without a version and with one."""
    return (
        Route(
            method=method,
            path=f"/v2/models/{{model}}{rest}",
            summary=summary,
            respond=respond,
            gives=gives,
            takes=takes or {},
        ),
        Route(
            method=method,
            path=f"/v2/models/{{model}}/versions/{{version}}{rest}",
            summary=f"{summary}, of a version",
            respond=respond,
            gives=gives,
            takes=takes or {},
        ),
    )


ROUTES: tuple[Route[Services], ...] = (
    Route(
        method="GET",
        path="/",
        summary="A page to draw a digit or drop an image",
        respond=pages.show_page,
        gives={pages.HTML: None},
        is_open=True,
    ),
    Route(
        method="GET",
        path="/docs",
        summary="This description as a page, to try it out",
        respond=pages.show_docs,
        gives={pages.HTML: None},
        is_open=True,
    ),
    Route(
        method="GET",
        path="/docs/{file}",
        summary="A script or style sheet of that page",
        respond=pages.show_asset,
        gives={pages.JAVASCRIPT: None, pages.CSS: None},
        is_open=True,
    ),
    Route(
        method="GET",
        path="/openapi.json",
        summary="This description",
        respond=pages.show_openapi,
        gives={JSON: None},
        is_open=True,
    ),
    Route(
        method="GET",
        path="/health",
        summary="Whether the function runs",
        respond=get_health,
        gives={JSON: Health},
        is_open=True,
    ),
    Route(
        method="POST",
        path="/predict/{project}",
        summary="Labels with probabilities for rows or images",
        respond=predict,
        takes=dict.fromkeys(PREDICT_LIMITS),
        gives={JSON: Predictions},
        query=("top_k",),
    ),
    Route(
        method="GET",
        path="/models",
        summary="The projects that have a champion",
        respond=get_models,
        gives={JSON: ModelList},
    ),
    Route(
        method="GET",
        path="/models/{project}",
        summary="The champion: signature, files, training, lineage",
        respond=get_model,
        gives={JSON: ModelDescription},
    ),
    Route(
        method="GET",
        path="/v2",
        summary="Server metadata",
        respond=get_server,
        gives={JSON: protocol.ServerMetadata},
    ),
    Route(
        method="GET",
        path="/v2/health/live",
        summary="Server live",
        respond=get_live,
        gives={JSON: Live},
        is_open=True,
    ),
    Route(
        method="GET",
        path="/v2/health/ready",
        summary="Server ready",
        respond=get_ready,
        gives={JSON: Ready},
        is_open=True,
    ),
    *_of_model("GET", "", "Model metadata", get_model_metadata, {JSON: protocol.ModelMetadata}),
    *_of_model("GET", "/ready", "Model ready", get_model_ready, {JSON: ModelReady}),
    *_of_model(
        "POST",
        "/infer",
        "Inference",
        infer,
        {JSON: protocol.InferResponse, protocol.OCTETS: None},
        {JSON: protocol.InferRequest, protocol.OCTETS: None},
    ),
)

TABLE = RouteTable(
    ROUTES,
    paths="There are POST /predict/{project}, POST /v2/models/{model}/infer, GET /models and others: see GET /docs.",
)

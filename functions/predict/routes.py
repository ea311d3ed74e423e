"""The endpoint's routes: one table, from which requests are answered, the API is described and the template is checked.

A table of our own instead of a resolver: the resolver of Powertools costs more than the prediction (docs/adr).
`is_open` routes are those that template.yaml lets in without a signature; all others reach the function
through a route that is guarded by EndpointAuth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from functions.predict import open_inference as protocol
from functions.predict import pages
from functions.predict.answers import Predictions, describe_predictions, read_top_k
from functions.predict.bodies import MAX_BINARY_BYTES, MAX_BODY_BYTES, read_body
from functions.predict.catalogue import Catalogue, ModelDescription, ModelList
from functions.predict.champions import Champions
from functions.predict.gateway import JSON, Answer, Request, json_answer
from functions.predict.inference_requests import OCTETS, InferRequest, read_infer
from functions.predict.media import decode_csv, decode_images
from functions.predict.problems import Problem, as_problem, no_route, wrong_method
from functions.predict.requests import MAX_BATCH, parse_inputs
from functions.predict.serving import Champion
from lehr.errors import NoChampionError, UnknownProjectError

if TYPE_CHECKING:
    from functions.predict.capture import Capture

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
    """What routes work with; each is built when it is first asked for. `capture` gives None where nothing is."""

    champions: Callable[[], Champions]
    catalogue: Callable[[], Catalogue]
    capture: Callable[[], Capture | None] = lambda: None


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


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one path; `takes` and `gives` name media types and, for JSON, types or schemas."""

    method: str
    path: str
    summary: str
    respond: Callable[[Request, Services], Answer]
    gives: Mapping[str, type | None]
    takes: Mapping[str, type | None] = field(default_factory=dict)
    query: tuple[str, ...] = ()
    is_open: bool = False


def respond(request: Request, services: Services) -> Answer:
    """The answer to a request, or the refusal in the form that its path speaks."""
    try:
        return find_route(request).respond(request, services)
    except REFUSALS as fault:
        problem = as_problem(fault)
        return problem.to_protocol_answer() if is_protocol(request.path) else problem.to_answer()


def is_protocol(path: str) -> bool:
    """Whether errors at this path are those of the Open Inference Protocol."""
    return path == "/v2" or path.startswith("/v2/")


def find_route(request: Request) -> Route:
    """The route of a request, whose variables it is given. Raises Problem (404, or 405 with Allow)."""
    route, variables = _match(request.method, request.path)
    request.variables = dict(variables)
    return route


@lru_cache(maxsize=256)
def _match(method: str, path: str) -> tuple[Route, tuple[tuple[str, str], ...]]:
    parts = path.split("/")
    allowed = set()
    for route, names, literals in _INDEX.get((len(parts), parts[1] if len(parts) > 1 else ""), ()):
        if all(parts[place] == text for place, text in literals) and all(parts[place] for place, _ in names):
            if route.method == method:
                return route, tuple((name, parts[place]) for place, name in names)
            allowed.add(route.method)
    raise wrong_method(allowed) if allowed else no_route()


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
    if capture := services.capture():
        capture.take(request.event, project, model, batch, probabilities)
    return json_answer(Predictions(project, model.version, predictions, round(latency_ms, 3)))


def infer(request: Request, services: Services) -> Answer:
    begin = perf_counter()
    name, model = request.variables["model"], _asked_for(request, services).model
    asked, batch = read_infer(request, model.signature)
    probabilities = model.predictor.predict(batch)
    answer = protocol.answer_infer(
        asked, probabilities, model=name, version=model.version, signature=model.signature
    )
    request.predicted = len(batch), (perf_counter() - begin) * 1000
    if capture := services.capture():
        capture.take(request.event, name, model, batch, probabilities)
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
) -> tuple[Route, Route]:
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


ROUTES = (
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
        summary="This description as a page",
        respond=pages.show_docs,
        gives={pages.HTML: None},
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
        {JSON: protocol.InferResponse, OCTETS: None},
        {JSON: InferRequest, OCTETS: None},
    ),
)

_Places = tuple[tuple[int, str], ...]


def _index() -> dict[tuple[int, str], list[tuple[Route, _Places, _Places]]]:
    """Routes by number of segments and first segment, with the places of their variables and of their literals."""
    found: dict[tuple[int, str], list[tuple[Route, _Places, _Places]]] = {}
    for route in ROUTES:
        parts = route.path.split("/")
        names = tuple((place, text[1:-1]) for place, text in enumerate(parts) if text.startswith("{"))
        literals = tuple(
            (place, text) for place, text in enumerate(parts) if place > 1 and not text.startswith("{")
        )
        found.setdefault((len(parts), parts[1]), []).append((route, names, literals))
    return found


_INDEX = _index()

"""The routes of predictions and of what the endpoint says of itself; those of batches are start_batch's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from functions.predict import handlers
from functions.predict import open_inference as protocol
from functions.predict.answers import Predictions
from functions.predict.descriptions import ModelDescription, ModelList
from functions.predict.feedback_bodies import Feedback, FeedbackAnswer
from functions.predict.handlers import PREDICT_LIMITS, Services
from functions.predict.inference_requests import OCTETS, InferRequest
from functions.predict.problems import refuse
from functions.predict.rollout import CandidateError
from lehr.errors import NoChampionError, UnknownProjectError
from lehr.http.gateway import CSS, HTML, JAVASCRIPT, JSON, Answer, Request
from lehr.http.problems import Problem, as_problem
from lehr.http.routes import Route, RouteTable

REFUSALS = (Problem, UnknownProjectError, NoChampionError)


def respond(request: Request, services: Services) -> Answer:
    """The answer to a request, or the refusal in the form that its path speaks.

    What a canary cannot answer the champion does.
    """
    try:
        route = TABLE.find(request)
        try:
            return route.respond(request, services)
        except CandidateError:
            request.key = None
            return route.respond(request, services)
    except REFUSALS as fault:
        return refuse(as_problem(fault), request.path)


def _page(name: str) -> Callable[[Request, Services], Answer]:
    """A function of pages.py, which is imported when somebody looks at one."""

    def respond(request: Request, services: Services) -> Answer:
        from functions.predict import pages

        show: Callable[[Request, Services], Answer] = getattr(pages, name)
        return show(request, services)

    return respond


def _of_model(
    method: str,
    rest: str,
    summary: str,
    respond: Callable[[Request, Services], Answer],
    gives: Mapping[str, type | None],
    takes: Mapping[str, type | None] | None = None,
) -> tuple[Route[Services], ...]:
    """A route of the protocol without a version and with one."""
    return tuple(
        Route(
            method=method,
            path=f"/v2/models/{{model}}{version}{rest}",
            summary=summary + suffix,
            respond=respond,
            gives=gives,
            takes=takes or {},
        )
        for version, suffix in (("", ""), ("/versions/{version}", ", of a version"))
    )


ROUTES: tuple[Route[Services], ...] = (
    Route(
        method="GET",
        path="/",
        summary="A page to draw a digit or drop an image",
        respond=_page("show_page"),
        gives={HTML: None},
        is_open=True,
    ),
    Route(
        method="GET",
        path="/docs",
        summary="This description as a page, to try it out",
        respond=_page("show_docs"),
        gives={HTML: None},
        is_open=True,
    ),
    Route(
        method="GET",
        path="/docs/{file}",
        summary="A script or style sheet of that page",
        respond=_page("show_asset"),
        gives={JAVASCRIPT: None, CSS: None},
        is_open=True,
    ),
    Route(
        method="GET",
        path="/openapi.json",
        summary="This description",
        respond=_page("show_openapi"),
        gives={JSON: None},
        is_open=True,
    ),
    Route(
        method="GET",
        path="/health",
        summary="Whether the function runs",
        respond=handlers.get_health,
        gives={JSON: handlers.Health},
        is_open=True,
    ),
    Route(
        method="POST",
        path="/predict/{project}",
        summary="Labels with probabilities for rows, images or recordings",
        respond=handlers.predict,
        takes=dict.fromkeys(PREDICT_LIMITS),
        gives={JSON: Predictions},
        query=("top_k", "score", "ids"),
    ),
    Route(
        method="POST",
        path="/feedback/{project}",
        summary="What earlier predictions should have been",
        respond=handlers.give_feedback,
        takes={JSON: Feedback},
        gives={JSON: FeedbackAnswer},
    ),
    Route(
        method="GET",
        path="/models",
        summary="The projects that have a champion",
        respond=handlers.get_models,
        gives={JSON: ModelList},
    ),
    Route(
        method="GET",
        path="/models/{project}",
        summary="The champion: signature, files, training, lineage",
        respond=handlers.get_model,
        gives={JSON: ModelDescription},
    ),
    Route(
        method="GET",
        path="/v2",
        summary="Server metadata",
        respond=handlers.get_server,
        gives={JSON: protocol.ServerMetadata},
    ),
    Route(
        method="GET",
        path="/v2/health/live",
        summary="Server live",
        respond=handlers.get_live,
        gives={JSON: handlers.Live},
        is_open=True,
    ),
    Route(
        method="GET",
        path="/v2/health/ready",
        summary="Server ready",
        respond=handlers.get_ready,
        gives={JSON: handlers.Ready},
        is_open=True,
    ),
    *_of_model("GET", "", "Model metadata", handlers.get_model_metadata, {JSON: protocol.ModelMetadata}),
    *_of_model("GET", "/ready", "Model ready", handlers.get_model_ready, {JSON: handlers.ModelReady}),
    *_of_model(
        "POST",
        "/infer",
        "Inference",
        handlers.infer,
        {JSON: protocol.InferResponse, OCTETS: None},
        {JSON: InferRequest, OCTETS: None},
    ),
)

TABLE = RouteTable(
    ROUTES,
    paths="There are POST /predict/{project}, POST /v2/models/{model}/infer, GET /models and others: see GET /docs.",
)

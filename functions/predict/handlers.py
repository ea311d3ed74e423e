"""What each route of predict does: from a request and the services to an answer, or a Problem that is raised."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from functions.predict import open_inference as protocol
from functions.predict.answers import (
    Prediction,
    Predictions,
    Values,
    describe_predictions,
    describe_values,
    read_ids,
    read_top_k,
)
from functions.predict.bodies import MAX_BINARY_BYTES, MAX_BODY_BYTES, read_body
from functions.predict.champions import Champions
from functions.predict.feedback_bodies import FeedbackAnswer
from functions.predict.inference_requests import read_infer
from functions.predict.problems import misfit
from functions.predict.requests import MAX_BATCH, parse_inputs
from functions.predict.serving import Champion
from lehr.contracts.detection_rules import DETECTIONS
from lehr.contracts.package import TableSignature, TensorSpec
from lehr.http.gateway import JSON, Answer, Request, json_answer
from lehr.http.problems import Problem

if TYPE_CHECKING:
    from functions.predict.capture import Capture
    from functions.predict.catalogue import Catalogue
    from lehr_runtime.packages import LoadedModel

CSV, WAV = "text/csv", "audio/wav"
PREDICT_LIMITS = {
    JSON: MAX_BODY_BYTES,
    "image/png": MAX_BINARY_BYTES,
    "image/jpeg": MAX_BINARY_BYTES,
    WAV: MAX_BINARY_BYTES,
    # What browsers and mimetypes call the same.
    "audio/x-wav": MAX_BINARY_BYTES,
    "audio/wave": MAX_BINARY_BYTES,
    "audio/vnd.wave": MAX_BINARY_BYTES,
    CSV: MAX_BODY_BYTES,
}

# Captured of what has no label of its own: pixels and boxes have.
_NO_ROWS = np.empty((0, 1), dtype=np.float32)


class Services(msgspec.Struct, frozen=True):
    """What routes work with; each is built when it is first asked for. `capture` gives None where nothing is.

    `pii_key` is the secret of pseudonyms, empty where the stack has none.
    """

    champions: Callable[[], Champions]
    catalogue: Callable[[], Catalogue]
    capture: Callable[[], Capture | None] = lambda: None
    pii_key: Callable[[], str] = lambda: ""


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


def predict(request: Request, services: Services) -> Answer:
    begin = perf_counter()
    kind, raw = read_body(request, PREDICT_LIMITS)
    project = request.variables["project"]
    model = services.champions().get(project, request.key).model
    if (table := model.signature.of_table) is not None:
        return _predict_table(request, services, model, table, kind, raw, begin)
    if len(model.signature.output.shape) == 4:
        return _predict_masks(request, services, model, kind, raw, begin)
    if model.signature.task in DETECTIONS:
        return _predict_boxes(request, services, model, kind, raw, begin)
    _refuse_score(request)
    spec, labels = model.signature.input, model.signature.labels
    top_k = read_top_k(request.query(), len(labels))
    sample_rate = model.signature.of_sound
    has_ids = read_ids(request.query())
    is_json = kind == JSON
    batch = parse_inputs(raw, spec, sample_rate) if is_json else _decode_file(kind, raw, spec, sample_rate)
    probabilities = model.predictor.predict(batch)
    predictions = describe_predictions(probabilities, labels, top_k=top_k)
    if has_ids:
        _give_ids(request, project, model, predictions)
    latency_ms = (perf_counter() - begin) * 1000
    request.predicted = len(batch), latency_ms
    if capture := services.capture():
        capture.take(request.event, project, model, batch, probabilities)
    return json_answer(Predictions(project, model.version, predictions, round(latency_ms, 3)))


def _predict_table(
    request: Request,
    services: Services,
    model: LoadedModel,
    table: TableSignature,
    kind: str,
    raw: bytes,
    begin: float,
) -> Answer:
    """Rows of a table: labels with probabilities, or values."""
    from functions.predict import tables

    project, signature = request.variables["project"], model.signature
    if kind not in (JSON, CSV):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "This model takes rows of a table, which neither an image nor a recording is.",
            headers={"Accept": f"{JSON}, {CSV}"},
        )
    if not signature.labels and "top_k" in request.query():
        detail = "This model predicts a number: it has no labels to choose from."
        raise misfit("top_k", detail, expected="no top_k", got="one")
    _refuse_score(request)
    top_k = read_top_k(request.query(), len(signature.labels))
    has_ids = signature.labels and read_ids(request.query())
    if not signature.labels:
        _refuse_ids(request)
    parse = tables.parse_table if kind == JSON else tables.parse_table_csv
    batch = parse(raw, table, services.pii_key())
    given = model.predictor.predict(batch)
    latency_ms = (perf_counter() - begin) * 1000
    request.predicted = len(batch), latency_ms
    if capture := services.capture():
        capture.take(request.event, project, model, batch, given)
    rounded = round(latency_ms, 3)
    if signature.labels:
        predictions = describe_predictions(given, signature.labels, top_k=top_k)
        if has_ids:
            _give_ids(request, project, model, predictions)
        return json_answer(Predictions(project, model.version, predictions, rounded))
    return json_answer(Values(project, model.version, describe_values(given), rounded))


def _predict_masks(
    request: Request, services: Services, model: LoadedModel, kind: str, raw: bytes, begin: float
) -> Answer:
    """Images: a mask for each, with the share of every label."""
    from functions.predict import masks
    from lehr_runtime.segmentation import predict_masks

    project, spec, labels = request.variables["project"], model.signature.input, model.signature.labels
    if "top_k" in request.query():
        detail = "This model labels pixels: its answer has all labels."
        raise misfit("top_k", detail, expected="no top_k", got="one")
    _refuse_ids(request)
    batch = parse_inputs(raw, spec) if kind == JSON else _decode_file(kind, raw, spec, None)
    found, certainty, _ = predict_masks(model.predictor, batch, labels=len(labels))
    predictions = masks.describe_masks(found, certainty, labels)
    latency_ms = (perf_counter() - begin) * 1000
    request.predicted = len(batch), latency_ms
    if capture := services.capture():
        capture.take(request.event, project, model, batch, _NO_ROWS)
    return json_answer(masks.Masks(project, model.version, labels, predictions, round(latency_ms, 3)))


def _predict_boxes(
    request: Request, services: Services, model: LoadedModel, kind: str, raw: bytes, begin: float
) -> Answer:
    """Images: what is found in each."""
    from functions.predict import boxes

    project, signature = request.variables["project"], model.signature
    query = request.query()
    if "top_k" in query:
        detail = "This model finds objects: score says from which on they are answered."
        raise misfit("top_k", detail, expected="no top_k", got="one")
    _refuse_ids(request)
    score = boxes.read_score(query)
    batch, sizes = boxes.read_batch(kind, raw, signature.input)
    found = boxes.find_in_images(model.predictor, batch, sizes, signature.labels, score=score)
    latency_ms = (perf_counter() - begin) * 1000
    request.predicted = len(batch), latency_ms
    if capture := services.capture():
        capture.take(request.event, project, model, batch, _NO_ROWS)
    return json_answer(boxes.FoundObjects(project, model.version, found, round(latency_ms, 3)))


def give_feedback(request: Request, services: Services) -> Answer:
    """Labels of earlier predictions, by whichever version of the project."""
    from functions.predict import feedback

    _, raw = read_body(request, {JSON: MAX_BODY_BYTES})
    project = request.variables["project"]
    signature = services.champions().get(project).model.signature
    is_labelling = signature.task in DETECTIONS or len(signature.output.shape) == 4
    if not signature.labels or is_labelling:
        detail = "Labels are taken of models that answer one label for each input."
        raise misfit("feedback", detail, expected="none", got="some")
    labelled, duplicates = feedback.read_feedback(raw, project, signature.labels)
    feedback.write_feedback(project, labelled)
    return json_answer(FeedbackAnswer(project, len(labelled), duplicates))


def _give_ids(request: Request, project: str, model: LoadedModel, predictions: list[Prediction]) -> None:
    from functions.predict.feedback import prediction_ids

    request_id = str(request.event["requestContext"].get("requestId", ""))
    ids = prediction_ids(project, model.version, request_id, [one.label for one in predictions])
    for one, given in zip(predictions, ids, strict=True):
        one.id = given


def _refuse_ids(request: Request) -> None:
    if "ids" in request.query():
        detail = "Predictions of this model have no ids: it does not answer one label for each input."
        raise misfit("ids", detail, expected="no ids", got="some")


def _refuse_score(request: Request) -> None:
    if "score" in request.query():
        detail = "This model finds no objects: score has no meaning."
        raise misfit("score", detail, expected="no score", got="one")


def _decode_file(kind: str, raw: bytes, spec: TensorSpec, sample_rate: int | None) -> np.ndarray:
    """[n, *shape] from CSV, from one image or one recording, whose decoders are imported with the first."""
    from functions.predict import media

    if kind == CSV:
        return media.decode_csv(raw, spec, max_rows=MAX_BATCH)
    if kind.startswith("audio/"):
        return media.decode_recordings([("audio", raw)], spec, sample_rate)
    return media.decode_images([("image", raw)], spec)


def infer(request: Request, services: Services) -> Answer:
    begin = perf_counter()
    name, model = request.variables["model"], _asked_for(request, services, request.key).model
    table = model.signature.of_table
    if table and table.categories:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "input",
            f"This model takes categories, which the protocol has no place for here: POST /predict/{name} takes them.",
        )
    asked, batch = read_infer(request, model.signature)
    is_tensor = model.signature.task in DETECTIONS or len(model.signature.output.shape) == 4
    if is_tensor:
        from functions.predict.large_answers import refuse_large_tensor

        refuse_large_tensor(asked, len(batch), model.signature)
    probabilities = model.predictor.predict(batch)
    answer = protocol.answer_infer(
        asked, probabilities, model=name, version=model.version, signature=model.signature
    )
    request.predicted = len(batch), (perf_counter() - begin) * 1000
    if capture := services.capture():
        capture.take(request.event, name, model, batch, _NO_ROWS if is_tensor else probabilities)
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


def _asked_for(request: Request, services: Services, key: str | None = None) -> Champion:
    """Who answers; who asks for a version means the champion's, and gets no canary."""
    version = request.variables.get("version")
    champion = services.champions().get(request.variables["model"], key if version is None else None)
    protocol.check_version(version, champion.model.version)
    return champion

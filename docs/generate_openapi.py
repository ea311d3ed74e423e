"""Writes functions/predict/openapi.json: the endpoint's API, described from the route tables of its two functions.

    python docs/generate_openapi.py            # write it
    python docs/generate_openapi.py --check    # exit code 1 if it is out of date

Answers are described by the types that the functions encode, so that a description cannot drift from them.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from functions.predict.answers import Predictions, Values  # noqa: E402
from functions.predict.bodies import MAX_BINARY_BYTES, MAX_BODY_BYTES  # noqa: E402
from functions.predict.boxes import DEFAULT_SCORE, FoundObjects  # noqa: E402
from functions.predict.handlers import CSV  # noqa: E402
from functions.predict.inference_requests import HEADER_LENGTH, OCTETS  # noqa: E402
from functions.predict.masks import Masks  # noqa: E402
from functions.predict.open_inference import SERVER_VERSION, ErrorAnswer  # noqa: E402
from functions.predict.problems import is_protocol  # noqa: E402
from functions.predict.requests import MAX_BATCH  # noqa: E402
from functions.predict.routes import ROUTES as OF_PREDICT  # noqa: E402
from functions.start_batch.routes import ROUTES as OF_START_BATCH  # noqa: E402
from lehr.http.gateway import JSON  # noqa: E402
from lehr.http.problems import CONTENT_TYPE  # noqa: E402
from lehr.http.routes import Route  # noqa: E402
from lehr_runtime.detection import MIN_SCORE  # noqa: E402
from lehr_runtime.images import MAX_PIXELS  # noqa: E402

DOCUMENT = ROOT / "functions" / "predict" / "openapi.json"
ROUTES: tuple[Route[Any], ...] = (*OF_PREDICT, *OF_START_BATCH)
REFERENCE = "#/components/schemas/{name}"
DESCRIPTION = (
    "Predictions of the champions. Requests are signed with AWS Signature Version 4 (service execute-api), or carry a "
    "JWT where the stack was deployed with EndpointAuth=JWT; the routes without security need neither."
)
NAME = {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"}
PARAMETERS: dict[str, dict[str, Any]] = {
    "project": {"description": "The project's name.", "schema": NAME},
    "model": {"description": "The project's name.", "schema": NAME},
    "version": {"description": "The version that serves; another one is not found.", "schema": NAME},
    "file": {"description": "Its name.", "schema": {"type": "string", "pattern": "^[a-z0-9.-]{1,40}$"}},
    "batch": {"description": "The id that its start was answered with.", "schema": NAME},
    "score": {
        "description": "From which score on objects are answered, of a model that finds boxes; others refuse it.",
        "schema": {"type": "number", "minimum": MIN_SCORE, "maximum": 1, "default": DEFAULT_SCORE},
    },
    "ids": {
        "description": "Whether each prediction has an id that POST /feedback/{project} takes, of a model that answers "
        "one label for each input; others refuse it.",
        "schema": {"type": "boolean", "default": False},
    },
    "top_k": {
        "description": "How many labels, likeliest first; all of them by default.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
ROWS = {
    "description": "Rows as the model's signature has them, 1 to "
    f"{MAX_BATCH}; a single one may stand without the outer array.",
    "type": "array",
    "items": {},
    "minItems": 1,
    "maxItems": 65535,
}
INSTANCES = {
    "description": f"Rows of a table, 1 to {MAX_BATCH}: objects by the names of the model's columns, as "
    "GET /models/{project} lists them, or arrays in their order; null is a missing value.",
    "type": "array",
    "items": {},
    "minItems": 1,
    "maxItems": MAX_BATCH,
}
IMAGE = {"type": "string", "contentEncoding": "base64", "description": "A PNG or JPEG file."}
RECORDING = {"type": "string", "contentEncoding": "base64", "description": "A WAV file."}
PREDICT_BODY = {
    "title": "PredictBody",
    "description": "One of six fields; `instances` are rows of a table, and so may `inputs` be.",
    "oneOf": [
        {
            "type": "object",
            "properties": {name: schema},
            "required": [name],
            "additionalProperties": False,
        }
        for name, schema in (
            ("inputs", ROWS),
            ("instances", INSTANCES),
            ("image", IMAGE),
            ("images", {"type": "array", "items": IMAGE, "minItems": 1, "maxItems": MAX_BATCH}),
            ("audio", RECORDING),
            ("audios", {"type": "array", "items": RECORDING, "minItems": 1, "maxItems": MAX_BATCH}),
        )
    ],
}
PROBLEM = {
    "title": "Problem",
    "description": "RFC 9457. `field`, `expected` and `got` name what does not fit, without repeating it.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "pattern": "^urn:lehr:problem:"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
        "expected": {"type": "string"},
        "got": {"type": "string"},
        "request_id": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail"],
}
REFUSALS = {
    "400": "Not a body of its media type.",
    "404": "No such project, or no such version that serves.",
    "413": "The body is larger than it may be.",
    "415": "Another media type, or a compressed body.",
    "422": "The body does not fit the model.",
    "503": "The project has no champion yet.",
}
RETRY_AFTER = {
    "description": "Seconds after which to ask again.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}
OF_BODIES = {"400", "413", "415", "422"}
OF_API_GATEWAY = {
    "401": "API Gateway's: no valid token.",
    "403": "API Gateway's: no valid signature, or one that may not invoke the endpoint.",
}
# What start_batch refuses, which takes JSON of any size that API Gateway lets through.
BATCH_REFUSALS = {
    "POST": {
        "404": "No such project.",
        "422": "The body asks for no batch, or the files cannot be one.",
        "503": "The project has no champion yet.",
    },
    "GET": {"404": "No batch of that id was started, or its results have expired."},
}
BODIES = {
    "image/png": f"A PNG file, {MAX_BINARY_BYTES} bytes and {MAX_PIXELS} pixels at most.",
    "image/jpeg": f"A JPEG file, {MAX_BINARY_BYTES} bytes and {MAX_PIXELS} pixels at most.",
    **dict.fromkeys(
        ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"),
        f"A WAV file, {MAX_BINARY_BYTES} bytes at most.",
    ),
    CSV: "Rows of numbers without a header, or of a table with or without its first line of names, "
    f"1 to {MAX_BATCH}, {MAX_BODY_BYTES} bytes at most.",
    OCTETS: f"JSON, then the bytes of the tensors; the header {HEADER_LENGTH} says where they begin.",
}


def describe() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    types = {
        kind
        for route in ROUTES
        for kind in (*route.gives.values(), *route.also_gives.values(), *route.takes.values())
        if kind
    }
    _, schemas = msgspec.json.schema_components(
        sorted({*types, ErrorAnswer, Values, Masks, FoundObjects}, key=lambda kind: kind.__name__),
        ref_template=REFERENCE,
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lehr endpoint",
            "version": SERVER_VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"sigv4": []}, {"jwt": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted({**schemas, "Problem": PROBLEM, "PredictBody": PREDICT_BODY}.items())),
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4 for the service execute-api, which signs each request "
                    "anew: at /docs with the keys typed above, elsewhere by an AWS SDK or `curl --aws-sigv4`.",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                },
                "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def _operation(route: Route[Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _operation_id(route),
        "tags": ["Open Inference Protocol" if is_protocol(route.path) else "Lehr"],
    }
    parameters = [
        {"name": name, "in": "path", "required": True, **PARAMETERS[name]}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    parameters += [{"name": name, "in": "query", **PARAMETERS[name]} for name in route.query]
    if OCTETS in route.takes:
        description = "Where the JSON ends, in a body of application/octet-stream."
        schema = {"type": "integer", "minimum": 0}
        parameters.append(
            {"name": HEADER_LENGTH, "in": "header", "description": description, "schema": schema}
        )
    if parameters:
        operation["parameters"] = parameters
    if route.takes:
        content = {kind: _content(kind, of_type, is_body=True) for kind, of_type in route.takes.items()}
        operation["requestBody"] = {"required": not _is_of_batches(route), "content": content}
    answers: dict[str, Any] = {
        "200": {
            "description": route.summary,
            "content": {kind.partition(";")[0]: _content(kind, t) for kind, t in route.gives.items()},
        }
    }
    for status, of_type in route.also_gives.items():
        answers[str(status.value)] = {
            "description": status.phrase,
            "content": {JSON: _content(JSON, of_type)},
        }
    for status, sentence in _refusals(route).items():
        answers[status] = {"description": sentence, "content": _refusal(route)}
        if status == "503":
            answers[status]["headers"] = {"Retry-After": RETRY_AFTER}
    if not route.is_open:
        answers |= {status: {"description": sentence} for status, sentence in OF_API_GATEWAY.items()}
    operation["responses"] = dict(sorted(answers.items()))
    if route.is_open:
        operation["security"] = []
    return operation


def _is_of_batches(route: Route[Any]) -> bool:
    return route in OF_START_BATCH


def _refusals(route: Route[Any]) -> dict[str, str]:
    """Status to sentence, beside those that API Gateway itself gives."""
    if _is_of_batches(route):
        return BATCH_REFUSALS[route.method]
    if route.path == "/docs/{file}":
        return {"404": "No such file."}
    return {
        status: sentence
        for status, sentence in REFUSALS.items()
        if ("{" in route.path and status not in OF_BODIES) or (route.takes and status in OF_BODIES)
    }


def _content(kind: str, of_type: type | None, *, is_body: bool = False) -> dict[str, Any]:
    if of_type is Predictions:
        return {
            "schema": {
                "oneOf": [
                    {"$ref": REFERENCE.format(name=one.__name__)}
                    for one in (Predictions, Values, Masks, FoundObjects)
                ]
            }
        }
    if of_type is not None:
        return {"schema": {"$ref": REFERENCE.format(name=of_type.__name__)}}
    if kind == JSON:
        return {"schema": {"$ref": REFERENCE.format(name="PredictBody")} if is_body else {"type": "object"}}
    if kind in BODIES and kind != CSV:
        return {"schema": {"description": BODIES[kind]}}
    return {"schema": {"type": "string", "description": BODIES.get(kind, "Text.")}}


def _refusal(route: Route[Any]) -> dict[str, Any]:
    if is_protocol(route.path):
        return {JSON: {"schema": {"$ref": REFERENCE.format(name="ErrorAnswer")}}}
    return {CONTENT_TYPE: {"schema": {"$ref": REFERENCE.format(name="Problem")}}}


def _operation_id(route: Route[Any]) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", route.path.lower().replace("openapi.json", "openapi")).strip("_")
    return f"{route.method.lower()}_{words or 'page'}"


def main() -> int:
    text = json.dumps(describe(), indent=1) + "\n"
    if "--check" in sys.argv[1:]:
        is_stale = not DOCUMENT.exists() or DOCUMENT.read_text() != text
        if is_stale:
            print(f"{DOCUMENT.relative_to(ROOT)} is out of date: python docs/generate_openapi.py")
        return is_stale
    DOCUMENT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""HTTP requests as the events that API Gateway makes of them, and the answers back: by the local cloud's own rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np

from benchmarks.rig.store import ROOT
from lehr_local.api_gateway import HttpApi, HttpRoute
from lehr_local.http_api import HttpRequest, HttpResponse, build_event, match_route, parse_result, route_path
from lehr_local.template_file import parse_template

BINARY_HEADER = "inference-header-content-length"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, its header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@cache
def template() -> dict[str, Any]:
    return parse_template((ROOT / "template.yaml").read_text())


@cache
def http_api() -> HttpApi:
    """The endpoint's routes as the template has them."""
    keys = [
        resource["Properties"]["RouteKey"]
        for resource in template()["Resources"].values()
        if resource["Type"] == "AWS::ApiGatewayV2::Route"
    ]
    routes = tuple(HttpRoute(key, "NONE", "predict", 30.0, "2.0") for key in keys)
    return HttpApi("bench", "$default", routes)


def to_event(
    method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> dict[str, Any]:
    """The payload 2.0 event of a request. Raises ValueError for one that API Gateway itself would refuse."""
    fields = [("host", "endpoint.local"), ("content-length", str(len(body))), *(headers or {}).items()]
    request = HttpRequest(method=method, target=target, headers=fields, body=body)
    path = route_path(http_api(), request.raw_path)
    found = match_route(http_api().routes, method, path or "/")
    if found is None:
        raise ValueError(f"no route takes {method} {target}")
    route, parameters = found
    return build_event(
        request,
        http_api(),
        route,
        path_parameters=parameters,
        account_id="123456789012",
        request_id="request-1",
        now=datetime.now(UTC),
    )


def to_answer(result: bytes) -> Answer:
    """What a client gets for a function's result. Raises MalformedResponse if that is none."""
    response: HttpResponse = parse_result(result)
    return Answer(response.status, dict(response.headers), response.body)


def json_request(project: str, rows: np.ndarray) -> dict[str, Any]:
    """POST /predict/<project> with the rows as nested lists."""
    body = json.dumps({"inputs": rows.tolist()}, separators=(",", ":")).encode()
    return to_event("POST", f"/predict/{project}", {"content-type": "application/json"}, body)


def binary_request(project: str, name: str, output: str, rows: np.ndarray) -> dict[str, Any]:
    """POST /v2/models/<project>/infer with the rows as bytes behind the JSON header, and bytes wanted back.

    https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/extension_binary_data.md
    """
    raw = np.ascontiguousarray(rows).tobytes()
    tensor = {
        "name": name,
        "shape": list(rows.shape),
        "datatype": "UINT8",
        "parameters": {"binary_data_size": len(raw)},
    }
    document = {"inputs": [tensor], "outputs": [{"name": output, "parameters": {"binary_data": True}}]}
    head = json.dumps(document, separators=(",", ":")).encode()
    headers = {"content-type": "application/octet-stream", BINARY_HEADER: str(len(head))}
    return to_event("POST", f"/v2/models/{project}/infer", headers, head + raw)


def probabilities_of(answer: Answer, shape: tuple[int, ...]) -> np.ndarray:
    """The probabilities of any contender's answer, float32. Raises ValueError for another answer."""
    if answer.status != 200:
        raise ValueError(f"{answer.status}: {answer.body[:300]!r}")
    if (length := answer.headers.get(BINARY_HEADER)) is not None:
        return np.frombuffer(answer.body[int(length) :], np.float32).reshape(shape)
    document = json.loads(answer.body)
    if "predictions" in document:
        rows = [list(row["probabilities"].values()) for row in document["predictions"]]
    elif "outputs" in document:
        rows = document["outputs"][0]["data"]
    else:
        rows = document["probabilities"]
    return np.array(rows, dtype=np.float32).reshape(shape)


def assert_equal(answer: Answer, expected: np.ndarray, who: str) -> None:
    """Raises AssertionError unless the answer is what a bare session gives, up to float32 in another order."""
    found = probabilities_of(answer, expected.shape)
    if not np.allclose(found, expected, rtol=2e-3, atol=1e-6):
        apart = float(np.abs(found - expected).max())
        raise AssertionError(f"{who} gives other probabilities, up to {apart:.3g} apart")

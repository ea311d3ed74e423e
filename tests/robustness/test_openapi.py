"""Both functions of the endpoint do what the OpenAPI document says, for requests that schemathesis makes of it.

pytest tests/robustness/test_openapi.py                           1,000 requests
pytest tests/robustness/test_openapi.py -m 'slow or not slow'     also 20,000
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks as openapi_checks

from benchmarks.rig.events import Answer, to_answer, to_event
from functions.start_batch import app as start_batch
from tests.robustness.endpoint import PROJECT, Endpoint
from tests.robustness.front import Front
from tests.unit.functions.test_start_batch import CONTEXT, Executions, make_starter, rows_csv

DOCUMENT = Path(__file__).parents[2] / "functions/predict/openapi.json"
QUICK = 1_000
# Neither the shape that a model wants nor who may ask is in the document, so refusals cannot be predicted from it.
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]


pytestmark = pytest.mark.skipif(
    not DOCUMENT.is_file(), reason="functions/predict/openapi.json does not exist"
)


def check_all(front: Front, count: int, known: dict[str, str], *, is_of_batches: bool = False) -> None:
    """Make at least `count` requests of the document that `front` gives, to the routes of one function.

    Raises schemathesis's FailureGroup.
    """
    schema = schemathesis.openapi.from_wsgi("/openapi.json", front)
    operations = [
        schema[path][method]
        for path, methods in schema.raw_schema["paths"].items()
        if path.startswith("/predict/batch/") == is_of_batches
        for method in methods
    ]
    # Of an operation that takes nothing there is one request.
    varied = [one for one in operations if one.path_parameters or one.query or one.body]
    for operation in operations:
        check_one(operation, -(-count // len(varied)) if operation in varied else 1, known, count <= QUICK)


def known_to(endpoint: Endpoint) -> dict[str, str]:
    return {"project": PROJECT, "model": PROJECT, "version": endpoint.champion()}


def check_one(operation: Any, count: int, known: dict[str, str], is_repeatable: bool) -> None:
    """Three requests of four name a model that there is, where the path names one."""

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=is_repeatable,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), is_known=st.integers(0, 3).map(bool))
    def check(case: Any, is_known: bool) -> None:
        if is_known:
            case.path_parameters |= {name: known[name] for name in case.path_parameters if name in known}
        case.call_and_validate(checks=CHECKS)

    check()


@pytest.mark.parametrize(
    "count", [pytest.param(QUICK, id="quick"), pytest.param(20_000, id="full", marks=pytest.mark.slow)]
)
def test_no_request_of_the_document_fails_or_is_answered_otherwise_than_it_says(
    endpoint: Endpoint, count: int
) -> None:
    with endpoint.running() as (process,):
        front = Front(process)
        published = process.ask(to_event("GET", "/openapi.json"))
        assert json.loads(published.body) == json.loads(DOCUMENT.read_bytes())
        check_all(front, count, known_to(endpoint))
    assert front.asked >= count
    assert {200, 404, 422} <= set(front.statuses), front.statuses


class StartBatchInProcess:
    """StartBatch over stores in memory, asked in this process: a batch is a start and a reading, no model is run."""

    def __init__(self) -> None:
        self.starter = make_starter(Executions())
        self.batch = self.starter.start(PROJECT, rows_csv()).batch

    def ask(self, event: dict[str, Any]) -> Answer:
        return to_answer(msgspec.json.encode(start_batch.handler(event, CONTEXT)))


@pytest.mark.parametrize(
    "count", [pytest.param(QUICK, id="quick"), pytest.param(20_000, id="full", marks=pytest.mark.slow)]
)
def test_no_request_for_a_batch_fails_or_is_answered_otherwise_than_the_document_says(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = StartBatchInProcess()
    monkeypatch.setattr(start_batch, "starter", lambda: process.starter)
    front = Front(process, DOCUMENT.read_bytes())
    check_all(front, count, {"project": PROJECT, "batch": process.batch}, is_of_batches=True)
    assert front.asked >= count
    assert {200, 404, 422} <= set(front.statuses), front.statuses


def test_a_document_that_does_not_say_what_the_endpoint_does_is_caught(endpoint: Endpoint) -> None:
    document = json.loads(DOCUMENT.read_bytes())
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
    with (
        endpoint.running() as (process,),
        pytest.raises(FailureGroup, match="Undocumented status code"),
    ):
        check_all(Front(process, json.dumps(document).encode()), QUICK, known_to(endpoint))

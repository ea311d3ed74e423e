"""The endpoint as its callers meet it: HTTPS, signatures, and nothing they send makes it fail."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Callable
from urllib.error import HTTPError

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.e2e.conftest import Workplace
from tests.e2e.small_mnist import write_data, write_project
from tests.unit.functions.corpus import REFUSED, Case

Ask = Callable[..., tuple[int, bytes]]
# What depends on headers, or on how API Gateway hands a body over, is tested on the function itself.
SENDABLE = [case for case in REFUSED if not case.headers and not case.is_encoded]
BODIES = [case for case in SENDABLE if "\ud800" not in (case.body or "")]


@pytest.fixture(scope="module")
def ask(workplace: Workplace) -> Ask:
    """Asks with or without a signature, after a model has been promoted."""
    assert workplace.lehr("push", str(write_project(workplace.folder / "served", "served"))).code == 0
    data = write_data(workplace.folder / "data-400", 400)
    assert workplace.lehr("train", "served", "--data", str(data)).code == 0
    url = workplace.outputs()["EndpointUrl"]
    context = ssl.create_default_context(cafile=workplace.info()["ca_file"])

    def send(
        path: str, body: bytes | None = None, *, method: str = "POST", signed: bool = True
    ) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if signed:
            request = AWSRequest(method=method, url=url + path, data=body, headers=headers)
            credentials = Credentials("local", "local-secret")
            SigV4Auth(credentials, "execute-api", workplace.info()["region"]).add_auth(request)
            headers = dict(request.headers.items())
        call = urllib.request.Request(url + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(call, context=context, timeout=60) as answer:
                return answer.status, answer.read()
        except HTTPError as fault:
            with fault:
                return fault.code, fault.read()

    return send


def test_a_prediction_names_label_probability_and_version(ask: Ask) -> None:
    status, body = ask("/predict/served", json.dumps({"inputs": [[0] * 28] * 28}).encode())
    answer = json.loads(body)
    assert status == 200
    assert len(answer["predictions"][0]["probabilities"]) == 10
    assert answer["model_version"]


def test_an_unsigned_request_is_forbidden(ask: Ask) -> None:
    assert ask("/predict/served", b"{}", signed=False)[0] == 403


def test_health_is_open(ask: Ask) -> None:
    assert ask("/health", method="GET", signed=False)[0] == 200


def test_a_project_without_a_model_says_how_to_train_one(ask: Ask, workplace: Workplace) -> None:
    assert workplace.lehr("push", str(write_project(workplace.folder / "fresh", "fresh"))).code == 0
    status, body = ask("/predict/fresh", json.dumps({"inputs": [[0] * 28] * 28}).encode())
    assert status == 503
    assert "lehr train fresh" in json.loads(body)["detail"]


def test_an_unknown_project_or_path_is_not_found(ask: Ask) -> None:
    assert ask("/predict/unheard-of", b"{}")[0] == 404
    assert ask("/nowhere", method="GET")[0] == 404


@pytest.mark.parametrize("case", BODIES, ids=lambda case: case.name)
def test_bad_input_is_refused_with_a_problem_document_that_names_the_field(ask: Ask, case: Case) -> None:
    status, body = ask("/predict/served", (case.body or "").encode())
    problem = json.loads(body)
    assert (status, problem["status"], problem.get("field")) == (case.status, case.status, case.field)
    assert problem["detail"]

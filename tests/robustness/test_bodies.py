"""Whatever is sent, the function answers JSON that says what is wrong, and goes on.

pytest tests/robustness/test_bodies.py                           1,000 requests
pytest tests/robustness/test_bodies.py -m 'slow or not slow'     also 50,000
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.rig.events import BINARY_HEADER, http_api, to_event
from tests.robustness.endpoint import PROJECT, Endpoint
from tests.unit.functions.corpus import ACCEPTED, GOOD, REFUSED

JSON_TYPES = {"application/json", "application/problem+json"}
LARGEST = 20_000
SEEDS = [
    case.body.encode(errors="surrogatepass")
    for case in (*ACCEPTED, *REFUSED)
    if case.body and len(case.body) < LARGEST and not case.is_encoded
]
POSTS = sorted(
    {key.removeprefix("POST ") for key in (r.route_key for r in http_api().routes) if key.startswith("POST ")}
)

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
documents = st.one_of(
    values,
    st.builds(lambda value: {"inputs": value}, values),
    st.builds(lambda value: {"inputs": [{"name": "x", "datatype": "UINT8", "data": value}]}, values),
    st.builds(
        lambda kept, more: {"inputs": json.loads(GOOD)["inputs"][:kept], **more},
        st.integers(0, 1),
        st.dictionaries(st.text(max_size=8), values, max_size=2),
    ),
)


@st.composite
def spliced(draw: st.DrawFn) -> bytes:
    """A body of the corpus with a part taken out and other bytes put in."""
    body = draw(st.sampled_from(SEEDS))
    begin = draw(st.integers(0, len(body)))
    end = draw(st.integers(begin, min(len(body), begin + 40)))
    return body[:begin] + draw(st.binary(max_size=20)) + body[end:]


bodies = st.one_of(
    st.binary(max_size=2000),
    st.text(max_size=500).map(lambda text: text.encode(errors="surrogatepass")),
    documents.map(lambda document: json.dumps(document).encode(errors="surrogatepass")),
    st.sampled_from(SEEDS),
    spliced(),
)
kinds = st.sampled_from(
    ["application/json"] * 6
    + [
        "",
        "text/plain",
        "text/csv",
        "image/png",
        "image/jpeg",
        "application/octet-stream",
        "application/json; charset=x",
    ]
) | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
paths = st.sampled_from(
    [path.replace("{project}", PROJECT).replace("{model}", PROJECT) for path in POSTS] * 3
    + ["/predict/unheard-of", "/predict/%2e%2e", "/predict/", "/nowhere", "/v2/models//infer"]
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """A POST as API Gateway hands it over."""
    headers = {"content-type": draw(kinds)}
    if draw(st.integers(0, 3)) == 0:
        headers[BINARY_HEADER] = draw(st.integers(-2, 3000).map(str) | st.text("0123456789 -+e.", max_size=8))
    if draw(st.integers(0, 9)) == 0:
        headers["content-encoding"] = draw(st.sampled_from(["gzip", "identity", "br", ""]))
    return to_event("POST", draw(paths), headers, draw(bodies))


@pytest.mark.parametrize(
    "count", [pytest.param(1_000, id="quick"), pytest.param(50_000, id="full", marks=pytest.mark.slow)]
)
def test_no_body_makes_the_endpoint_fail_or_answer_anything_but_json(endpoint: Endpoint, count: int) -> None:
    statuses: dict[int, int] = {}
    with endpoint.running() as (process,):

        @settings(
            max_examples=count,
            deadline=None,
            # The same thousand each time: what the full form finds goes into the corpus.
            derandomize=count == 1_000,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(event=events())
        def check(event: dict[str, Any]) -> None:
            answer = process.ask(event)
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            assert answer.status < 500, answer.body[:500]
            assert b"Traceback" not in answer.body
            if BINARY_HEADER in answer.headers:
                assert answer.status == 200
                assert answer.headers["content-type"] == "application/octet-stream"
                json.loads(answer.body[: int(answer.headers[BINARY_HEADER])])
                return
            assert answer.headers["content-type"].partition(";")[0] in JSON_TYPES
            document = json.loads(answer.body)
            if answer.headers["content-type"] == "application/problem+json":
                assert (document["status"], bool(document["detail"])) == (answer.status, True)
            elif answer.status != 200:  # the Open Inference Protocol has a form of its own
                assert set(document) == {"error"}
                assert document["error"]

        check()
        assert endpoint.fault_of(process.ask(endpoint.request())) is None
    # It must have met more than the first refusal.
    assert {200, 400, 404, 415, 422} <= set(statuses), statuses

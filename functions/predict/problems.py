"""What a request for a prediction is refused for most often, and the form in which it is told."""

from __future__ import annotations

from http import HTTPStatus

from lehr.http.gateway import JSON, Answer
from lehr.http.problems import Problem


def misfit(field: str, detail: str, *, expected: str, got: str) -> Problem:
    """The commonest problem: a field that does not fit the model's signature."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "input", detail, field=field, expected=expected, got=got)


def is_protocol(path: str) -> bool:
    """Whether errors at this path are those of the Open Inference Protocol."""
    return path == "/v2" or path.startswith("/v2/")


def refuse(problem: Problem, path: str) -> Answer:
    """A problem in the form that its path speaks: the protocol wants one sentence under `error`."""
    if not is_protocol(path):
        return problem.to_answer()
    document = problem.document
    place, detail, expected = document.get("field"), document["detail"], document.get("expected")
    sentence = f"{place}: {detail}" if place and place not in detail else detail
    if expected:
        sentence += f" Expected {expected}, got {document['got']}."
    if "request_id" in document:
        sentence += f" ({document['request_id']})"
    return problem.to_answer(JSON, {"error": sentence})

"""What a request for a prediction is refused for most often."""

from __future__ import annotations

from http import HTTPStatus

from lehr.http.problems import Problem


def misfit(field: str, detail: str, *, expected: str, got: str) -> Problem:
    """The commonest problem: a field that does not fit the model's signature."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "input", detail, field=field, expected=expected, got=got)

"""How much an answer may hold: a function answers with 6 MB at most.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

from __future__ import annotations

import math
from http import HTTPStatus

from functions.predict.inference_requests import InferRequest, wants_bytes
from lehr.contracts.package import Signature
from lehr.http.problems import Problem

MAX_ANSWER_BYTES = 5 << 20
# Of a float32 in JSON, at most, and of one in base64.
_TEXT_BYTES, _BASE64_BYTES = 24, 16 / 3


def refuse_large_tensor(asked: InferRequest, rows: int, signature: Signature) -> None:
    """Raise Problem (422) where what the graph gives for `rows` images is more than an answer holds."""
    values = math.prod(signature.output.shape[1:])
    each = values * (_BASE64_BYTES if wants_bytes(asked) else _TEXT_BYTES)
    if rows * each > MAX_ANSWER_BYTES:
        raise too_large(f"the tensors of {int(MAX_ANSWER_BYTES / each)} images here", MAX_ANSWER_BYTES)


def too_large(fits: str, most_bytes: int) -> Problem:
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "answer-size",
        f"The answer would be too large: {fits} fit into {most_bytes} bytes. Ask for fewer. Binary tensors take less "
        "room than numbers in JSON, and what is found in them (POST /predict) the least.",
    )

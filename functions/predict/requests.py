"""From an HTTP request to an array, or to a problem that names the first place that does not fit.

The body is parsed by msgspec, strictly: NaN, Infinity, numbers in strings, booleans as numbers and decimal
fractions (also 5.0: a pixel is an integer) are refused. A field given twice is refused too, since parsers
disagree on which one counts.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
import numpy as np

from functions.predict.problems import Problem, misfit
from lehr.contracts.package import TensorSpec

MAX_BODY_BYTES = 1 << 20
MAX_BATCH = 512
FIELD = "inputs"
_PIXEL = "an integer from 0 to 255"
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_JSON_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
Pixel = Annotated[int, msgspec.Meta(ge=0, le=255)]


def read_body(event: Mapping[str, Any]) -> bytes:
    """The body of an API Gateway event, payload 2.0. Nothing is decoded or parsed before its size is known."""
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    body = event.get("body") or ""
    is_encoded = event.get("isBase64Encoded", False)
    if len(body) > (MAX_BODY_BYTES * 4 // 3 + 4 if is_encoded else MAX_BODY_BYTES):
        raise _too_large()
    _check_media_type(headers)
    try:
        raw = base64.b64decode(body, validate=True) if is_encoded else body.encode()
    except (binascii.Error, ValueError) as fault:  # ValueError: not ASCII, or a lone surrogate
        raise Problem(HTTPStatus.BAD_REQUEST, "body", "The body could not be decoded.") from fault
    if len(raw) > MAX_BODY_BYTES:
        raise _too_large()
    if not raw.strip():
        raise Problem(HTTPStatus.BAD_REQUEST, "body", f'The body is empty; send {{"{FIELD}": ...}} as JSON.')
    return raw


def parse_inputs(raw: bytes, spec: TensorSpec) -> np.ndarray:
    """The inputs as uint8 [n, *shape], 1 <= n <= MAX_BATCH; a single input of the bare shape is a batch of one.

    Raises Problem (400 for what is no JSON, 422 for what does not fit `spec`).
    """
    value = _input_field(raw)
    shape = spec.shape[1:]
    for given in (len(spec.shape), len(shape)):
        try:
            array = np.array(_decoder(given).decode(value), dtype=np.uint8)
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue  # the slower walk below says what is wrong, and where
        batch = array if given == len(spec.shape) else array[np.newaxis]
        if list(batch.shape[1:]) == shape and 1 <= len(batch) <= MAX_BATCH:
            return batch
    raise _first_misfit(value, shape)


def _too_large() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "size", f"The body may have {MAX_BODY_BYTES} bytes at most."
    )


def _check_media_type(headers: Mapping[str, str]) -> None:
    kind, _, parameters = headers.get("content-type", "application/json").partition(";")
    charset = re.search(r"charset\s*=\s*\"?([^\s\";]+)", parameters, re.IGNORECASE)
    is_utf8 = charset is None or charset[1].lower() in {"utf-8", "utf8", "us-ascii"}
    if kind.strip().lower() != "application/json" or not is_utf8:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "The body must be application/json in UTF-8.",
            headers={"Accept": "application/json"},
        )
    if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "content-encoding",
            "The body must not be compressed.",
            headers={"Accept-Encoding": "identity"},
        )


@cache
def _decoder(rank: int) -> msgspec.json.Decoder[Any]:
    """Nested lists of pixels, `rank` deep."""
    kind: Any = Pixel
    for _ in range(rank):
        kind = list[kind]
    return msgspec.json.Decoder(kind)


def _input_field(raw: bytes) -> msgspec.Raw:
    """The undecoded value of the one field there is."""
    wanted = f'an object with the field "{FIELD}"'
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as fault:
        got = _kind(_decoded(msgspec.Raw(raw)))
        raise misfit("", f"The body must be {wanted}.", expected=wanted, got=got) from fault
    except _JSON_FAULTS as fault:
        raise _malformed(fault) from fault
    for name in fields:
        if name != FIELD:
            raise _unknown_field(name)
    if FIELD not in fields:
        raise misfit(FIELD, f'The field "{FIELD}" is missing.', expected=wanted, got="an object without it")
    # A value that fits holds numbers only: then any further string can only be the same name again.
    if raw.count(b'"') > 2 and b'"' not in bytes(fields[FIELD]):
        raise misfit(FIELD, f'The field "{FIELD}" is given twice.', expected="one", got="more than one")
    return fields[FIELD]


def _unknown_field(name: str) -> Problem:
    """Only a plain name is repeated: it is what a person has mistyped."""
    shown = f'"{name}"' if _PLAIN_NAME.fullmatch(name) else "with a name that is no identifier"
    near = difflib.get_close_matches(
        name[:40].lower(), [FIELD, "instances", "images", "data"], n=1, cutoff=0.5
    )
    question = f' Did you mean "{FIELD}"?' if near else f' The only field is "{FIELD}".'
    return misfit(
        name if _PLAIN_NAME.fullmatch(name) else "",
        f"Unknown field {shown}.{question}",
        expected=f'"{FIELD}"',
        got="an unknown field",
    )


def _malformed(fault: Exception) -> Problem:
    """msgspec's messages hold byte positions, never the bytes."""
    if isinstance(fault, RecursionError):
        detail = "The body is nested too deeply."
    elif isinstance(fault, UnicodeDecodeError):
        detail = "The body is not UTF-8."
    else:
        detail = f"The body is not JSON: {str(fault).removeprefix('JSON is malformed: ')}."
    return Problem(HTTPStatus.BAD_REQUEST, "json", detail)


def _decoded(value: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.ValidationError as fault:  # JSON allows 1e999, no number type does
        raise misfit(
            FIELD, "A number is out of range.", expected=_PIXEL, got="a number beyond 64 bits"
        ) from fault
    except _JSON_FAULTS as fault:
        raise _malformed(fault) from fault


def _first_misfit(raw: msgspec.Raw, shape: list[int]) -> Problem:
    """Walk the value beside the shape, in reading order, to the first place that does not fit."""
    value = _decoded(raw)
    expected = f"{MAX_BATCH} arrays of shape {shape} at most, or one"
    found = _shape(value, len(shape) + 3)
    if isinstance(value, list) and not value:
        return misfit(FIELD, "There is nothing to predict.", expected=expected, got="an empty array")
    if len(found) == len(shape):
        return _walk(value, shape, FIELD) or _unforeseen()
    if len(found) != len(shape) + 1:
        got = f"an array of shape {found}" if found else _kind(value)
        return misfit(FIELD, f'"{FIELD}" has the wrong shape.', expected=expected, got=got)
    if len(value) > MAX_BATCH:
        return misfit(FIELD, "The batch is too large.", expected=expected, got=f"{len(value)} of them")
    return _walk(value, [len(value), *shape], FIELD) or _unforeseen()


def _walk(value: Any, shape: list[int], place: str) -> Problem | None:
    """Recurses as deep as the signature's shape, however deep the value is."""
    if not shape:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255:
            return None
        return misfit(place, f"{place} is not {_PIXEL}.", expected=_PIXEL, got=_kind(value))
    expected = f"an array of {shape[0]}"
    if not isinstance(value, list) or len(value) != shape[0]:
        return misfit(place, f"{place} is not {expected}.", expected=expected, got=_kind(value))
    for index, inner in enumerate(value):
        if problem := _walk(inner, shape[1:], f"{place}[{index}]"):
            return problem
    return None


def _unforeseen() -> Problem:
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "input", f'"{FIELD}" does not fit the model.', field=FIELD
    )


def _shape(value: Any, limit: int) -> list[int]:
    """Lengths along the first elements, `limit` of them at most."""
    lengths: list[int] = []
    while isinstance(value, list) and len(lengths) < limit:
        lengths.append(len(value))
        value = value[0] if value else None
    return lengths


def _kind(value: Any) -> str:
    """What a JSON value is, without saying which."""
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            return "an integer below 0"
        return "an integer above 255" if value > 255 else "an integer"
    names = {
        bool: "a boolean",
        float: "a number with a decimal point or exponent",
        str: "a string",
        dict: "an object",
    }
    return names.get(type(value), "null")

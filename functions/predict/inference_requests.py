"""Inference requests of the Open Inference Protocol: from JSON, or JSON and the bytes behind it, to one array.

A request that does not fit is answered with the first place that does not, as the protocol's `error`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
import numpy as np

from functions.predict.bodies import MAX_BINARY_BYTES, MAX_BODY_BYTES, read_body
from functions.predict.problems import misfit
from functions.predict.requests import MAX_BATCH, NUMBERS, read_numbers
from lehr.contracts.package import Signature
from lehr.http.gateway import JSON, Request
from lehr.http.problems import Problem

HEADER_LENGTH = "Inference-Header-Content-Length"
OCTETS = "application/octet-stream"
LIMITS = {OCTETS: MAX_BINARY_BYTES, JSON: MAX_BODY_BYTES}
DATATYPES = {"uint8": "UINT8", "int16": "INT16", "float32": "FP32"}
WIRE: dict[str, np.dtype[Any]] = {
    "uint8": np.dtype("u1"),
    "int16": np.dtype("<i2"),
    "float32": np.dtype("<f4"),
}
# Parameters that would change what the answer means, and that we do not have.
_REFUSED = frozenset({"classification", "shared_memory_region"})
# Longer JSON before bytes, as with a long id, is read anew each time.
MAX_REMEMBERED_BYTES = 1024
_LENGTH_FIELD = HEADER_LENGTH.lower()


class InputTensor(msgspec.Struct):
    """One input; `data` is flat or nested, row by row, or absent when parameters.binary_data_size says its bytes."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class RequestedOutput(msgspec.Struct):
    """One output that is wanted; parameters.binary_data asks for its bytes."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """What is posted to /v2/models/{model}/infer."""

    inputs: list[InputTensor]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[RequestedOutput] = []


_request_decoder = msgspec.json.Decoder(InferRequest)


class _Header(NamedTuple):
    """What the JSON of a request says: the shape of the input, and its data or how many bytes of it are behind."""

    asked: InferRequest
    shape: tuple[int, ...]
    size: int = 0
    data: msgspec.Raw | None = None


def read_infer(request: Request, signature: Signature) -> tuple[InferRequest, np.ndarray]:
    """The request and its input as an array of the signature's dtype, [n, *shape]. Raises Problem."""
    _, raw = read_body(request, LIMITS)
    length, end = request.headers.get(_LENGTH_FIELD), len(raw)
    if length is not None:
        if not (length.isascii() and length.isdigit() and len(length) < 9 and int(length) <= end):
            raise _bad_header(end)
        end = int(length)
    if end > MAX_BODY_BYTES:
        detail = f"The JSON may have {MAX_BODY_BYTES} bytes at most."
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "size", detail)
    spec = signature.input
    read = _remembered_header if end < len(raw) and end <= MAX_REMEMBERED_BYTES else _read_header
    header = read(
        raw[:end], length is not None, signature.output.name, spec.name, spec.dtype, tuple(spec.shape[1:])
    )
    if header.data is not None:
        if len(raw) > end:
            raise misfit(
                "inputs[0].data", "There are bytes after the JSON too.", expected="either", got="both"
            )
        return header.asked, _read_data(header.data, header.shape, spec.dtype)
    if len(raw) - end != header.size:
        raise _wrong_size(header.size, f"{len(raw) - end} bytes after the JSON")
    array = np.frombuffer(raw[end:], WIRE[spec.dtype]).reshape(header.shape)
    if spec.dtype == "float32" and not np.isfinite(array).all():
        raise misfit(
            "inputs[0]", "A number is NaN or infinite.", expected=NUMBERS["float32"], got="another one"
        )
    return header.asked, array


def wants_bytes(asked: InferRequest) -> bool:
    """An output's own wish counts before the request's."""
    default = asked.parameters.get("binary_data_output", False)
    return (asked.outputs[0].parameters.get("binary_data", default) if asked.outputs else default) is True


def _read_header(
    raw: bytes, has_length: bool, output: str, name: str, dtype: str, row: tuple[int, ...]
) -> _Header:
    """The JSON of a request for a model whose input and output are called so, rows of shape `row`. Raises Problem."""
    asked = _decode(raw, has_length=has_length)
    _check_outputs(asked, output)
    if len(asked.inputs) != 1:
        raise misfit("inputs", "The model has one input.", expected="one input", got=f"{len(asked.inputs)}")
    (tensor,) = asked.inputs
    if tensor.name != name:
        raise misfit("inputs[0].name", "The model has no such input.", expected=name, got="another name")
    if tensor.datatype != DATATYPES[dtype]:
        raise misfit(
            "inputs[0].datatype", "It is not the model's.", expected=DATATYPES[dtype], got="another datatype"
        )
    shape = tuple(tensor.shape)
    if shape[1:] != row or not shape or not 1 <= shape[0] <= MAX_BATCH:
        expected = f"[n, {', '.join(map(str, row))}] with n from 1 to {MAX_BATCH}"
        got = f"{len(shape)} dimensions" if len(shape) != 1 + len(row) else "another shape"
        raise misfit("inputs[0].shape", "It is not the model's.", expected=expected, got=got)
    _check_parameters(tensor.parameters, "inputs[0]")
    size = tensor.parameters.get("binary_data_size")
    if size is None and tensor.data is msgspec.UNSET:
        raise misfit(
            "inputs[0].data", "There is no data.", expected="data or binary_data_size", got="neither"
        )
    if tensor.data is not msgspec.UNSET:
        if size is None:
            return _Header(asked, shape, data=tensor.data)
        raise misfit("inputs[0].data", "There is a binary_data_size too.", expected="either", got="both")
    expected_bytes = math.prod(shape) * WIRE[dtype].itemsize
    if type(size) is not int or size != expected_bytes:
        raise _wrong_size(expected_bytes, "another size")
    return _Header(asked, shape, size)


# A client sends the same JSON before other bytes again and again: reading it once saves a sixth of a small request.
_remembered_header = lru_cache(maxsize=128)(_read_header)


def _decode(raw: bytes, *, has_length: bool) -> InferRequest:
    try:
        return _request_decoder.decode(raw)
    except msgspec.ValidationError as fault:
        raise misfit(
            _place(fault),
            "The request does not fit the protocol.",
            expected="an inference request",
            got=_said(fault),
        ) from fault
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        hint = "" if has_length else f" Binary tensors need the header {HEADER_LENGTH}."
        raise Problem(HTTPStatus.BAD_REQUEST, "json", f"The request is not JSON.{hint}") from fault


def _bad_header(size: int) -> Problem:
    return Problem(
        HTTPStatus.BAD_REQUEST,
        "binary",
        f"{HEADER_LENGTH} must be the length of the JSON, within the {size} bytes of the body.",
    )


def _wrong_size(expected: int, got: str) -> Problem:
    return misfit(
        "inputs[0].parameters.binary_data_size",
        "It does not fit shape, datatype and body.",
        expected=f"{expected} bytes",
        got=got,
    )


def _check_outputs(asked: InferRequest, name: str) -> None:
    """One output there is, and it may be asked for once."""
    for index, output in enumerate(asked.outputs):
        if output.name != name:
            place = f"outputs[{index}].name"
            raise misfit(place, "The model has no such output.", expected=name, got="another name")
        if index:
            got = f"{len(asked.outputs)}"
            raise misfit(f"outputs[{index}]", "The output is asked for twice.", expected="one", got=got)
        _check_parameters(output.parameters, "outputs[0]")


def _check_parameters(parameters: dict[str, Any], place: str) -> None:
    for name in _REFUSED & parameters.keys() if parameters else ():
        raise misfit(
            f"{place}.parameters.{name}", "It is not supported.", expected="no such parameter", got="one"
        )


def _read_data(data: msgspec.Raw, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Flat is how clients send it; nested as the shape is allowed too."""
    count = math.prod(shape)
    flat = read_numbers(data, 1, dtype)
    if flat is not None:
        if len(flat) == count:
            return flat.reshape(shape)
        raise misfit(
            "inputs[0].data", "It does not fit the shape.", expected=f"{count} values", got=f"{len(flat)}"
        )
    nested = read_numbers(data, len(shape), dtype)
    if nested is not None and nested.shape == shape:
        return nested
    expected = f"{count} values, each {NUMBERS[dtype]}, flat or nested as the shape"
    raise misfit(
        "inputs[0].data", "It does not fit shape and datatype.", expected=expected, got="something else"
    )


def _place(fault: msgspec.ValidationError) -> str:
    """The path in msgspec's message, as in: Expected `str`, got `int` - at `$.inputs[0].name`."""
    _, _, path = str(fault).rpartition(" - at `$")
    return path.rstrip("`").lstrip(".") if path.isascii() and "[...]" not in path else ""


def _said(fault: msgspec.ValidationError) -> str:
    """Types and names of our own fields only: msgspec repeats no values."""
    return str(fault).partition(" - at ")[0].replace("`", "")

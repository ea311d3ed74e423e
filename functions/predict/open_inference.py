"""The Open Inference Protocol, version 2, as KServe and Triton speak it over REST, with Triton's binary tensors.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

A model's name is the project's. Of its versions one serves, the champion's; another one is answered with 404.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

import msgspec
import numpy as np

from functions.predict.bodies import MAX_BINARY_BYTES, MAX_BODY_BYTES, read_body
from functions.predict.problems import misfit
from functions.predict.requests import MAX_BATCH, NUMBERS, read_numbers
from lehr.contracts.package import Signature, TensorSpec
from lehr.http.gateway import JSON, Answer, Request, binary_answer, json_answer
from lehr.http.problems import Problem

SERVER = "lehr"
SERVER_VERSION = "0.1.0"
PLATFORM = "onnxruntime_onnx"
HEADER_LENGTH = "Inference-Header-Content-Length"
OCTETS = "application/octet-stream"
LIMITS = {OCTETS: MAX_BINARY_BYTES, JSON: MAX_BODY_BYTES}
DATATYPES = {"uint8": "UINT8", "float32": "FP32"}
_WIRE: dict[str, np.dtype[Any]] = {"uint8": np.dtype("u1"), "float32": np.dtype("<f4")}
# Parameters that would change what the answer means, and that we do not have.
_REFUSED = ("classification", "shared_memory_region")


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


class OutputTensor(msgspec.Struct, omit_defaults=True):
    """One output; `data` is flat, row by row, or absent when parameters.binary_data_size says its bytes."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, int] = {}
    data: list[float] | msgspec.UnsetType = msgspec.UNSET


class InferResponse(msgspec.Struct, omit_defaults=True):
    """The answer; `id` is the request's."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str = ""


class TensorMetadata(msgspec.Struct):
    """Name, datatype and shape of an input or output; -1 is the batch."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(msgspec.Struct):
    """What the model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(msgspec.Struct):
    """Who answers."""

    name: str
    version: str
    extensions: list[str]


class ErrorAnswer(msgspec.Struct):
    """What every refusal of the protocol looks like."""

    error: str


_request_decoder = msgspec.json.Decoder(InferRequest)
_encoder = msgspec.json.Encoder()


def describe_server() -> ServerMetadata:
    return ServerMetadata(name=SERVER, version=SERVER_VERSION, extensions=["binary_tensor_data"])


def describe_model(name: str, version: str, signature: Signature) -> ModelMetadata:
    return ModelMetadata(
        name=name,
        versions=[version],
        platform=PLATFORM,
        inputs=[_metadata(signature.input)],
        outputs=[_metadata(signature.output)],
    )


def check_version(asked: str | None, serving: str) -> None:
    """Raises Problem (404) for a version that does not serve; names the one that does."""
    if asked is not None and asked != serving:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            "model-version",
            f"That version does not serve; {serving} does. Ask for it, or for none.",
        )


def read_infer(request: Request, signature: Signature) -> tuple[InferRequest, np.ndarray]:
    """The request and its input as an array of the signature's dtype, [n, *shape]. Raises Problem."""
    _, raw = read_body(request, LIMITS)
    header, binary = raw, b""
    length = request.headers.get(HEADER_LENGTH.lower())
    if length is not None:
        if not (length.isascii() and length.isdigit() and len(length) < 9 and int(length) <= len(raw)):
            raise _bad_header(len(raw))
        header, binary = raw[: int(length)], raw[int(length) :]
    if len(header) > MAX_BODY_BYTES:
        detail = f"The JSON may have {MAX_BODY_BYTES} bytes at most."
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "size", detail)
    try:
        asked = _request_decoder.decode(header)
    except msgspec.ValidationError as fault:
        raise misfit(
            _place(fault),
            "The request does not fit the protocol.",
            expected="an inference request",
            got=_said(fault),
        ) from fault
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        hint = "" if length is not None else f" Binary tensors need the header {HEADER_LENGTH}."
        raise Problem(HTTPStatus.BAD_REQUEST, "json", f"The request is not JSON.{hint}") from fault
    _check_outputs(asked, signature.output.name)
    return asked, _read_input(asked, binary, signature.input)


def answer_infer(
    asked: InferRequest, probabilities: np.ndarray, *, model: str, version: str, signature: Signature
) -> Answer:
    """The outputs that were asked for, as JSON or as bytes after it."""
    output = signature.output
    tensor = OutputTensor(name=output.name, datatype=DATATYPES[output.dtype], shape=list(probabilities.shape))
    response = InferResponse(model_name=model, model_version=version, outputs=[tensor], id=asked.id)
    if not _is_binary(asked):
        tensor.data = probabilities.ravel().tolist()
        return json_answer(response)
    binary = probabilities.astype(_WIRE[output.dtype], copy=False).tobytes()
    tensor.parameters = {"binary_data_size": len(binary)}
    header = _encoder.encode(response)
    return binary_answer(header + binary, {"Content-Type": OCTETS, HEADER_LENGTH: str(len(header))})


def _metadata(spec: TensorSpec) -> TensorMetadata:
    return TensorMetadata(name=spec.name, datatype=DATATYPES[spec.dtype], shape=spec.shape)


def _bad_header(size: int) -> Problem:
    return Problem(
        HTTPStatus.BAD_REQUEST,
        "binary",
        f"{HEADER_LENGTH} must be the length of the JSON, within the {size} bytes of the body.",
    )


def _check_outputs(asked: InferRequest, name: str) -> None:
    """One output there is, and it may be asked for once."""
    for index, output in enumerate(asked.outputs):
        place = f"outputs[{index}]"
        if output.name != name:
            raise misfit(f"{place}.name", "The model has no such output.", expected=name, got="another name")
        if index:
            raise misfit(place, "The output is asked for twice.", expected="one", got=f"{len(asked.outputs)}")
        for parameter in _REFUSED:
            if parameter in output.parameters:
                raise misfit(
                    f"{place}.parameters.{parameter}",
                    "It is not supported.",
                    expected="no such parameter",
                    got="one",
                )


def _is_binary(asked: InferRequest) -> bool:
    """An output's own wish counts before the request's."""
    default = asked.parameters.get("binary_data_output", False)
    return (asked.outputs[0].parameters.get("binary_data", default) if asked.outputs else default) is True


def _read_input(asked: InferRequest, binary: bytes, spec: TensorSpec) -> np.ndarray:
    if len(asked.inputs) != 1:
        raise misfit("inputs", "The model has one input.", expected="one input", got=f"{len(asked.inputs)}")
    (tensor,) = asked.inputs
    if tensor.name != spec.name:
        raise misfit("inputs[0].name", "The model has no such input.", expected=spec.name, got="another name")
    datatype = DATATYPES[spec.dtype]
    if tensor.datatype != datatype:
        raise misfit(
            "inputs[0].datatype", "It is not the model's.", expected=datatype, got="another datatype"
        )
    shape = tensor.shape
    if shape[1:] != spec.shape[1:] or len(shape) != len(spec.shape) or not 1 <= shape[0] <= MAX_BATCH:
        expected = f"[n, {', '.join(map(str, spec.shape[1:]))}] with n from 1 to {MAX_BATCH}"
        got = f"{len(shape)} dimensions" if len(shape) != len(spec.shape) else "another shape"
        raise misfit("inputs[0].shape", "It is not the model's.", expected=expected, got=got)
    for parameter in _REFUSED:
        if parameter in tensor.parameters:
            raise misfit(
                f"inputs[0].parameters.{parameter}",
                "It is not supported.",
                expected="no such parameter",
                got="one",
            )
    size = tensor.parameters.get("binary_data_size")
    if size is None and tensor.data is not msgspec.UNSET:
        if binary:
            raise misfit(
                "inputs[0].data", "There are bytes after the JSON too.", expected="either", got="both"
            )
        return _read_data(tensor.data, shape, spec.dtype)
    if tensor.data is not msgspec.UNSET:
        raise misfit("inputs[0].data", "There is a binary_data_size too.", expected="either", got="both")
    if size is None:
        raise misfit(
            "inputs[0].data", "There is no data.", expected="data or binary_data_size", got="neither"
        )
    wire = _WIRE[spec.dtype]
    expected_bytes = math.prod(shape) * wire.itemsize
    if type(size) is not int or size != expected_bytes or len(binary) != expected_bytes:
        raise misfit(
            "inputs[0].parameters.binary_data_size",
            "It does not fit shape, datatype and body.",
            expected=f"{expected_bytes} bytes",
            got=f"{len(binary)} bytes after the JSON",
        )
    array = np.frombuffer(binary, dtype=wire).reshape(shape)
    if spec.dtype == "float32" and not np.isfinite(array).all():
        raise misfit(
            "inputs[0]", "A number is NaN or infinite.", expected=NUMBERS["float32"], got="another one"
        )
    return array


def _read_data(data: msgspec.Raw, shape: list[int], dtype: str) -> np.ndarray:
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
    if nested is not None and list(nested.shape) == shape:
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

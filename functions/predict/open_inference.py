"""The Open Inference Protocol, version 2, as KServe and Triton speak it over REST, with Triton's binary tensors.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

A model's name is the project's. Of its versions one serves, the champion's; another one is answered with 404.
"""

from __future__ import annotations

import math
from functools import lru_cache
from http import HTTPStatus

import msgspec
import numpy as np

from functions.predict.inference_requests import (
    DATATYPES,
    HEADER_LENGTH,
    OCTETS,
    WIRE,
    InferRequest,
    wants_bytes,
)
from lehr.contracts.package import Signature, TensorSpec
from lehr.http.gateway import Answer, binary_answer, json_answer
from lehr.http.problems import Problem

SERVER = "lehr"
SERVER_VERSION = "0.1.0"
PLATFORM = "onnxruntime_onnx"


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


def describe_server() -> ServerMetadata:
    return ServerMetadata(name=SERVER, version=SERVER_VERSION, extensions=["binary_tensor_data"])


def describe_model(name: str, version: str, signature: Signature) -> ModelMetadata:
    categories = signature.of_table.categories if signature.of_table else None
    return ModelMetadata(
        name=name,
        versions=[version],
        platform=PLATFORM,
        inputs=[_metadata(spec) for spec in (signature.input, categories) if spec],
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


def answer_infer(
    asked: InferRequest, probabilities: np.ndarray, *, model: str, version: str, signature: Signature
) -> Answer:
    """The outputs that were asked for, as JSON or as bytes after it."""
    output = signature.output
    if wants_bytes(asked):
        binary = probabilities.astype(WIRE[output.dtype], copy=False).tobytes()
        describe = _describe_bytes if asked.id else _remembered_bytes
        header = describe(model, version, output.name, output.dtype, probabilities.shape, asked.id)
        return binary_answer(header + binary, {"Content-Type": OCTETS, HEADER_LENGTH: str(len(header))})
    tensor = OutputTensor(
        name=output.name,
        datatype=DATATYPES[output.dtype],
        shape=list(probabilities.shape),
        data=probabilities.ravel().tolist(),
    )
    return json_answer(InferResponse(model_name=model, model_version=version, outputs=[tensor], id=asked.id))


def _describe_bytes(
    model: str, version: str, name: str, dtype: str, shape: tuple[int, ...], asked_id: str
) -> bytes:
    """The JSON before an output's bytes."""
    size = math.prod(shape) * WIRE[dtype].itemsize
    tensor = OutputTensor(
        name=name, datatype=DATATYPES[dtype], shape=list(shape), parameters={"binary_data_size": size}
    )
    return msgspec.json.encode(
        InferResponse(model_name=model, model_version=version, outputs=[tensor], id=asked_id)
    )


_remembered_bytes = lru_cache(maxsize=128)(_describe_bytes)


def _metadata(spec: TensorSpec) -> TensorMetadata:
    """Text is BYTES in the protocol; it is described here, and refused by infer."""
    datatype = "BYTES" if spec.dtype == "string" else DATATYPES[spec.dtype]
    return TensorMetadata(name=spec.name, datatype=datatype, shape=spec.shape)

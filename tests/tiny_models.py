"""Small models and packages: a graph that reads images of one bright class row, and its package in a store."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lehr import layout
from lehr.contracts.package import (
    MODEL_FILE,
    PACKAGE_FILE,
    SIGNATURE_FILE,
    ModelPackage,
    PackagedFile,
    Signature,
    TensorSpec,
)

LABELS = [str(digit) for digit in range(10)]
SHAPE = [28, 28]


def signature(labels: list[str] | None = None, shape: list[int] | None = None) -> Signature:
    """uint8 [-1, 28, 28] to float32 [-1, 10]."""
    labels = labels or LABELS
    return Signature(
        task="image_classification",
        input=TensorSpec(name="x", dtype="uint8", shape=[-1, *(shape or SHAPE)]),
        output=TensorSpec(name="probabilities", dtype="float32", shape=[-1, len(labels)]),
        labels=labels,
    )


def graph(
    weights: np.ndarray,
    *,
    shape: list[int] | None = None,
    batch: str | int = "batch",
    softmax: bool = True,
) -> onnx.ModelProto:
    """Cast -> Reshape -> MatMul -> Softmax over raw uint8 pixels; weights float32 [pixels, classes]."""
    shape = shape or SHAPE
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["f", "flat"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["logits" if softmax else "probabilities"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1))
    proto = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [batch, *shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, weights.shape[1]])],
        [
            numpy_helper.from_array(np.array([-1, int(np.prod(shape))], dtype=np.int64), "flat"),
            numpy_helper.from_array(weights.astype(np.float32), "w"),
        ],
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def convolutional(seed: int = 0, channels: int = 32) -> onnx.ModelProto:
    """Cast -> Unsqueeze -> Conv -> Relu -> Conv -> Relu -> GlobalAveragePool -> Gemm -> Softmax over 28 x 28 pixels.

    ONNX Runtime's optimiser fuses each pair, and lays the weights out for the processor where it can.
    """
    random = np.random.default_rng(seed)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(0, 0.02, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["f", "one"], ["image"]),
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    proto = helper.make_graph(
        nodes,
        "convolutional",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", *SHAPE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        [
            numpy_helper.from_array(np.array([1], dtype=np.int64), "one"),
            constant("w1", channels, 1, 3, 3),
            constant("b1", channels),
            constant("w2", channels, channels, 3, 3),
            constant("b2", channels),
            constant("w3", channels, 10),
            constant("b3", 10),
        ],
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def weights(seed: int = 0, classes: int = 10, pixels: int = 784) -> np.ndarray:
    """Small seeded weights, so that softmax saturates nowhere."""
    return np.random.default_rng(seed).normal(0, 1e-4, (pixels, classes)).astype(np.float32)


def files(seed: int = 0, *, external: Path | None = None) -> dict[str, bytes]:
    """model.onnx and signature.json; with `external`, a folder to work in, weights in a file of their own."""
    model = graph(weights(seed))
    if external is None:
        return {MODEL_FILE: model.SerializeToString(), SIGNATURE_FILE: signature().to_json()}
    onnx.save_model(
        model,
        external / MODEL_FILE,
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=1024,
    )
    return {
        MODEL_FILE: (external / MODEL_FILE).read_bytes(),
        "model.onnx.data": (external / "model.onnx.data").read_bytes(),
        SIGNATURE_FILE: signature().to_json(),
    }


def package_of(project: str, content: dict[str, bytes]) -> ModelPackage:
    """package.json of these files."""
    return ModelPackage(
        project=project,
        files={
            name: PackagedFile(sha256=hashlib.sha256(raw).hexdigest(), bytes=len(raw))
            for name, raw in content.items()
        },
    )


def publish(store: object, project: str, content: dict[str, bytes]) -> str:
    """Put a package where the layout wants it; returns the version."""
    package = package_of(project, content)
    for name, raw in {**content, PACKAGE_FILE: package.to_json()}.items():
        store.put(layout.model_file_key(project, package.version, name), raw)  # type: ignore[attr-defined]
    return package.version

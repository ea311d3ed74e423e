"""A small package of a model that labels pixels: by how light they are, without torch."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lehr.contracts.package import MODEL_FILE, SIGNATURE_FILE, Signature, TensorSpec

LABELS = ["dark", "grey", "light"]
SHAPE = [8, 6]


def signature(labels: list[str] | None = None) -> Signature:
    """uint8 [-1, 8, 6] to float32 [-1, 3, 8, 6]."""
    labels = labels or LABELS
    return Signature(
        task="image_segmentation",
        input=TensorSpec(name="x", dtype="uint8", shape=[-1, *SHAPE]),
        output=TensorSpec(name="probabilities", dtype="float32", shape=[-1, len(labels), *SHAPE]),
        labels=labels,
    )


def graph(grey_from: float, light_from: float) -> onnx.ModelProto:
    """Cast -> Unsqueeze -> Conv 1 x 1 -> Softmax: lines over the grey value that cross at the two thresholds."""
    slopes = np.array([0.0, 0.1, 0.2], np.float32).reshape(3, 1, 1, 1)
    offsets = -0.1 * np.cumsum([0.0, grey_from, light_from]).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["f", "one"], ["plane"]),
        helper.make_node("Conv", ["plane", "w", "b"], ["logits"], kernel_shape=[1, 1]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    proto = helper.make_graph(
        nodes,
        "tiny_masks",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", *SHAPE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3, *SHAPE])],
        [
            numpy_helper.from_array(np.array([1], np.int64), "one"),
            numpy_helper.from_array(slopes, "w"),
            numpy_helper.from_array(offsets.astype(np.float32), "b"),
        ],
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def files(grey_from: float = 85.5, light_from: float = 170.5) -> dict[str, bytes]:
    return {
        MODEL_FILE: graph(grey_from, light_from).SerializeToString(),
        SIGNATURE_FILE: signature().to_json(),
    }


def labels_of(x: np.ndarray, grey_from: float = 85.5, light_from: float = 170.5) -> np.ndarray:
    """The mask that the model gives for uint8 [n, 8, 6]."""
    return ((x > grey_from).astype(np.uint8) + (x > light_from)).astype(np.uint8)

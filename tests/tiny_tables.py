"""A small package of a table's model: two numbers and a category, without torch."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lehr.contracts.package import MODEL_FILE, SIGNATURE_FILE, Signature, TableSignature, TensorSpec
from lehr.contracts.tables import Column

COLUMNS = [
    Column(name="km", kind="number"),
    Column(name="class", kind="category"),
    Column(name="hour", kind="number"),
]


def signature(labels: list[str], *, has_categories: bool, hashed_for: str = "") -> Signature:
    """x float32 [-1, 2], and text [-1, 1] if there are categories, which may be pseudonyms of a project."""
    categories = TensorSpec(name="categories", dtype="string", shape=[-1, 1]) if has_categories else None
    return Signature(
        task="tabular_classification" if labels else "tabular_regression",
        input=TensorSpec(name="x", dtype="float32", shape=[-1, 2]),
        output=TensorSpec(
            name="probabilities" if labels else "values", dtype="float32", shape=[-1, len(labels) or 1]
        ),
        labels=labels,
        table=TableSignature(
            columns=[
                Column(name=column.name, kind=column.kind, hashed_for=hashed_for)
                if column.kind == "category" and hashed_for
                else column
                for column in COLUMNS
                if has_categories or column.kind == "number"
            ],
            missing=["", "NA"],
            target="price",
            categories=categories,
        ),
    )


def files(
    labels: list[str], *, has_categories: bool = True, best: str = "best", hashed_for: str = ""
) -> dict[str, bytes]:
    """A value is km + hour, missing ones 0, and 100 for the class `best`; labels are told apart by its sign."""
    told = signature(labels, has_categories=has_categories, hashed_for=hashed_for)
    output = told.output.name
    nodes = [
        helper.make_node("IsNaN", ["x"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "x"], ["numbers"]),
        helper.make_node(
            "ReduceSum", ["numbers", "axis"], ["sum" if has_categories else "value"], keepdims=1
        ),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])]
    if has_categories:
        inputs.append(helper.make_tensor_value_info("categories", TensorProto.STRING, ["batch", 1]))
        nodes += [
            helper.make_node(
                "LabelEncoder",
                ["categories"],
                ["price"],
                domain="ai.onnx.ml",
                keys_strings=[best],
                values_floats=[100.0],
                default_float=0.0,
            ),
            helper.make_node("Add", ["sum", "price"], ["value"]),
        ]
    if labels:
        nodes += [
            helper.make_node("MatMul", ["value", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], [output], axis=1),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["value"], [output]))
    graph = helper.make_graph(
        nodes,
        "tiny_table",
        inputs,
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", len(labels) or 1])],
        [
            numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
            *([numpy_helper.from_array(np.array([[-0.1, 0.1]], np.float32), "weights")] if labels else []),
        ],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    return {MODEL_FILE: model.SerializeToString(), SIGNATURE_FILE: told.to_json()}

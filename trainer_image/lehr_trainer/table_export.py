"""What a table's graph has around the module: text of categories becomes codes, standardised values become real ones.

torch exports no strings, so a graph of codes is exported first and gets its front of standard operators afterwards: one
LabelEncoder (ai.onnx.ml) for each category, from its text to its code, 0 for any other text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from lehr.contracts.package import Signature, TableSignature, TensorSpec
from lehr.contracts.tables import TableStatistics
from lehr_runtime.tables import Inputs

CATEGORIES = "categories"
VALUES = "values"
_ML_DOMAIN = "ai.onnx.ml"
_ML_OPSET = 3
_CODES = "lehr_codes"


class ServedValues(nn.Module):  # type: ignore[misc]
    """The module between a table and the values that it predicts, in the target's units."""

    def __init__(self, model: Any, table: TableStatistics) -> None:
        super().__init__()
        self.model, self.mean, self.std = model, table.target_mean, table.target_std

    def forward(self, x: Any) -> Any:
        return self.model(x) * self.std + self.mean


def make_table_signature(
    task: str, table: TableStatistics, *, input_name: str, probabilities: str
) -> Signature:
    """How the graph of a table is called: numbers, and beside them text if there are categories."""
    labels, categories = table.table.labels, len(table.categories)
    return Signature(
        task=task,
        input=TensorSpec(name=input_name, dtype="float32", shape=[-1, len(table.numbers)]),
        output=TensorSpec(
            name=probabilities if labels else VALUES, dtype="float32", shape=[-1, len(labels) or 1]
        ),
        labels=labels,
        table=TableSignature(
            columns=table.table.columns,
            missing=table.table.missing,
            target=table.table.target,
            categories=TensorSpec(name=CATEGORIES, dtype="string", shape=[-1, categories])
            if categories
            else None,
        ),
    )


def add_categories(path: Path, table: TableStatistics, *, input_name: str) -> None:
    """Exchange the graph's input of numbers and codes for one of numbers and one of text."""
    if not table.categories:
        return
    model = onnx.load(path)
    graph = model.graph
    (whole,) = graph.input
    batch = whole.type.tensor_type.shape.dim[0].dim_param or "batch"
    for node in graph.node:
        node.input[:] = [_CODES if name == input_name else name for name in node.input]
    del graph.input[:]
    graph.input.extend(
        [
            helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [batch, len(table.numbers)]),
            helper.make_tensor_value_info(CATEGORIES, TensorProto.STRING, [batch, len(table.categories)]),
        ]
    )
    front, columns = [], [input_name]
    for number, column in enumerate(table.categories):
        place, text, code = (f"lehr_{kind}_{number}" for kind in ("place", "text", "code"))
        graph.initializer.append(helper.make_tensor(place, TensorProto.INT64, [1], [number]))
        front.append(helper.make_node("Gather", [CATEGORIES, place], [text], axis=1))
        front.append(
            helper.make_node(
                "LabelEncoder",
                [text],
                [code],
                domain=_ML_DOMAIN,
                # Something that no column can hold keeps the list from being empty.
                keys_strings=[*column.values, "\x00"],
                values_floats=[*(float(one) for one in range(1, len(column.values) + 1)), 0.0],
                default_float=0.0,
            )
        )
        columns.append(code)
    front.append(helper.make_node("Concat", columns, [_CODES], axis=1))
    nodes = [*front, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    if not any(opset.domain == _ML_DOMAIN for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_ML_DOMAIN, _ML_OPSET))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def feed(inputs: Inputs, input_name: str) -> dict[str, np.ndarray]:
    """The inputs by the names that the graph has for them."""
    if isinstance(inputs, np.ndarray):
        return {input_name: inputs}
    return {input_name: inputs.numbers, CATEGORIES: inputs.categories}


def values_of(model: Any, rows: np.ndarray, table: TableStatistics) -> np.ndarray:
    """What `model` predicts of encoded rows, in the target's units, float32 [rows, 1]."""
    with torch.inference_mode():
        return np.asarray(ServedValues(model, table)(torch.from_numpy(rows)).numpy())


def value_tolerance(expected: np.ndarray, table: TableStatistics, tolerance: float) -> float:
    """`tolerance` spreads of the target, and what rounding to float32 makes of a value that is far from 0."""
    return tolerance * table.target_std + 4 * float(np.finfo(np.float32).eps * np.abs(expected).max())

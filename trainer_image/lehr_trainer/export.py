"""Export to ONNX, and the proof that the graph computes what the trained module computes.

The graph takes raw uint8 pixels `x` [batch, height, width], or int16 samples [batch, samples], and gives
`probabilities` [batch, classes], or [batch, classes, height, width] where pixels have labels: what is said of a row
holds for each of them then. The division by 255 and the softmax are inside. Proof, on real rows:

* **no chance**: no node draws random numbers or behaves as in training. ONNX Runtime would not tell: it
  removes a dropout even where the graph says that it is on.
* **logits**: the published graph ends in a softmax, which hides differences (all is well near 0 and 1). So
  a second copy of the same file gets the softmax's input as one more output, and that is compared with the module's
  logits: at most 1e-4 apart. Beyond |logit| = 100, where float32 cannot hold that, the tolerance
  grows with the largest logit.
* **answers**: the published file runs through `lehr_runtime`'s session and Predictor, the code that
  evaluates and serves, one row alone and the others in a batch. Every row's label must be the module's; where the
  module itself has two labels within twice the tolerance, either is right.

The tolerance and what was seen are published in training.json.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from msgspec import UNSET
from torch import nn

from lehr.contracts.data_rules import SEGMENTATIONS
from lehr.contracts.detection_rules import DETECTIONS
from lehr.contracts.package import MODEL_FILE, Signature, TensorSpec
from lehr.contracts.tables import TableStatistics
from lehr.contracts.training import Parity
from lehr.errors import ModelPackageError
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import check_signature, open_session
from lehr_runtime.tables import Inputs
from lehr_trainer.box_export import DETECTIONS_OUTPUT, ServedBoxes, prove_boxes
from lehr_trainer.errors import ExportError, ExportParityError
from lehr_trainer.graph_probe import inner_tensor
from lehr_trainer.models import scale_pixels
from lehr_trainer.table_export import (
    VALUES,
    ServedValues,
    add_categories,
    make_table_signature,
    value_tolerance,
    values_of,
)
from lehr_trainer.tables import decode

OPSET = 20
INPUT = "x"
OUTPUT = "probabilities"
TOLERANCE = 1e-4
LARGE_LOGIT = 100.0
_OF_CHANCE = {
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}


# It logs a line for each torchvision operator that it cannot translate, when torchvision is not even installed.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)


class _Served(nn.Module):  # type: ignore[misc]
    """The module between raw pixels, or the numbers and codes of a table, and probabilities."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Any:
        return torch.softmax(self.model(scale_pixels(x)), dim=1)


def make_signature(
    task: str,
    input_shape: list[int],
    labels: list[str],
    *,
    table: TableStatistics | None = None,
    sample_rate: int | None = None,
) -> Signature:
    """How the exported graph is called; one of sound has a `sample_rate`, in Hz."""
    if table:
        return make_table_signature(task, table, input_name=INPUT, probabilities=OUTPUT)
    pixels = input_shape[:2] if task in SEGMENTATIONS else []
    return Signature(
        task=task,
        input=TensorSpec(name=INPUT, dtype="int16" if sample_rate else "uint8", shape=[-1, *input_shape]),
        output=TensorSpec(name=OUTPUT, dtype="float32", shape=[-1, len(labels), *pixels]),
        labels=labels,
        sample_rate=sample_rate or UNSET,
    )


def export_model(
    model: Any,
    folder: Path,
    rows: np.ndarray,
    signature: Signature,
    *,
    threads: int,
    table: TableStatistics | None = None,
) -> Parity:
    """Write `folder`/model.onnx and prove it on `rows`, uint8 [n, height, width], or encoded rows of a `table`.

    The model is left on the CPU in evaluation mode; a graph that is refused is not left at all.
    Raises ExportError, ExportParityError.
    """
    model.cpu().eval()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MODEL_FILE
    write_graph(
        model,
        path,
        input_shape=signature.input.shape[1:],
        dtype=signature.input.dtype,
        table=table,
        finds_boxes=signature.task in DETECTIONS,
    )
    try:
        return prove_parity(model, path, rows, signature, threads=threads, table=table)
    except ExportParityError:
        path.unlink()
        raise


def write_graph(
    model: Any,
    path: Path,
    *,
    input_shape: list[int],
    dtype: str = "uint8",
    table: TableStatistics | None = None,
    finds_boxes: bool = False,
) -> None:
    """Write the ONNX graph of `model`, in the mode that it is in, with a free batch dimension. Raises ExportError."""
    if table:
        example = torch.zeros(2, len(table.numbers) + len(table.categories))
    else:
        example = torch.from_numpy(np.zeros((2, *input_shape), dtype))
    is_regression = table is not None and not table.table.labels
    served, output = _Served(model), OUTPUT
    if finds_boxes:
        served, output = ServedBoxes(model), DETECTIONS_OUTPUT
    elif table and is_regression:
        served, output = ServedValues(model, table), VALUES
    with warnings.catch_warnings():
        # Raised within torch.export, about a call that torch itself makes.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        try:
            torch.onnx.export(
                served.train(model.training),
                (example,),
                path,
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[output],
                dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
                external_data=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as fault:
            first = str(fault).strip().splitlines()[0]
            raise ExportError(f"the model cannot be exported to ONNX: {first}") from fault
    _forget_where(path)
    if table:
        add_categories(path, table, input_name=INPUT)


def _forget_where(path: Path) -> None:
    """Drop what torch notes beside each node: paths of this machine, so that the same model is not the same file."""
    graph = onnx.load(path)
    for part in (
        graph.graph,
        *graph.graph.node,
        *graph.graph.input,
        *graph.graph.output,
        *graph.graph.value_info,
    ):
        del part.metadata_props[:]
    onnx.save(graph, path)


def prove_parity(
    model: Any,
    path: Path,
    rows: np.ndarray,
    signature: Signature,
    *,
    threads: int,
    table: TableStatistics | None = None,
) -> Parity:
    """Compare the graph at `path` with `model` in evaluation mode on `rows`. Raises ExportParityError."""
    model.eval()
    raw = decode(rows, table) if table else rows
    if table and not table.table.labels:
        return _prove_values(model, path, rows, signature, threads=threads, table=table)
    if signature.task in DETECTIONS:
        graph = onnx.load(path)
        _refuse_chance(graph)
        return prove_boxes(
            model,
            graph,
            _serve(path, raw, signature, threads=threads),
            rows,
            threads=threads,
            tolerance=TOLERANCE,
            large=LARGE_LOGIT,
        )
    with torch.inference_mode():
        expected = model(scale_pixels(torch.from_numpy(rows))).numpy()
    if not np.isfinite(expected).all():
        raise ExportParityError(f"the trained model gives NaN or infinity on {len(rows)} real rows")
    graph = onnx.load(path)
    _refuse_chance(graph)
    exported = _logits_of_graph(graph, raw, threads=threads)
    served = _serve(path, raw, signature, threads=threads)

    tolerance = TOLERANCE * max(1.0, float(np.abs(expected).max()) / LARGE_LOGIT)
    parity = Parity(
        rows=len(rows),
        max_absolute_difference=float(np.abs(expected - exported).max()),
        tolerance=tolerance,
        argmax_disagreements=_disagreements(expected, served, ties_within=2 * tolerance),
    )
    # Written so that a NaN, which is neither greater nor smaller, is refused.
    if not parity.max_absolute_difference <= tolerance or parity.argmax_disagreements:
        raise ExportParityError(
            f"the exported graph is not the trained model: on {len(rows)} rows the logits differ by up to "
            f"{parity.max_absolute_difference:.3g} (tolerance {tolerance:.3g}) and "
            f"{parity.argmax_disagreements} labels differ"
        )
    return parity


def _prove_values(
    model: Any, path: Path, rows: np.ndarray, signature: Signature, *, threads: int, table: TableStatistics
) -> Parity:
    """As `prove_parity`, of a graph that gives values: they are what is compared, in the target's units."""
    expected = values_of(model, rows, table)
    if not np.isfinite(expected).all():
        raise ExportParityError(f"the trained model gives NaN or infinity on {len(rows)} real rows")
    _refuse_chance(onnx.load(path))
    served = _serve(path, decode(rows, table), signature, threads=threads)
    parity = Parity(
        rows=len(rows),
        max_absolute_difference=float(np.abs(expected - served).max()),
        tolerance=value_tolerance(expected, table, TOLERANCE),
        argmax_disagreements=0,
    )
    if not parity.max_absolute_difference <= parity.tolerance:
        raise ExportParityError(
            f"the exported graph is not the trained model: on {len(rows)} rows the values differ by up to "
            f"{parity.max_absolute_difference:.3g} (tolerance {parity.tolerance:.3g})"
        )
    return parity


def _serve(path: Path, rows: Inputs, signature: Signature, *, threads: int) -> np.ndarray:
    """Probabilities of the published file as serving opens it; Predictor refuses what is no distribution."""
    try:
        session = open_session(path, threads=threads)
        check_signature(session, signature)
        predictor = Predictor(session, signature)
        return np.concatenate([predictor.predict(part) for part in (rows[:1], rows[1:]) if len(part)])
    except ModelPackageError as fault:
        raise ExportParityError(f"the exported graph cannot serve: {fault}") from fault


def _refuse_chance(graph: Any) -> None:
    for node in graph.graph.node:
        trains = any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)
        if node.op_type in _OF_CHANCE or trains:
            raise ExportParityError(
                f"the exported graph has a {node.op_type} as in training: the model was not in evaluation mode, or "
                "calls one without regard to it, as torch.nn.functional.dropout(x) does"
            )


def _logits_of_graph(graph: Any, rows: Inputs, *, threads: int) -> np.ndarray:
    """Run a copy of the graph that also gives what enters its last softmax."""
    last = next((node for node in graph.graph.node if OUTPUT in node.output), None)
    if last is None or last.op_type != "Softmax":
        raise ExportParityError(f"the exported graph's {OUTPUT!r} is not given by a softmax")
    return inner_tensor(graph, last.input[0], rows, threads=threads)


def _disagreements(logits: np.ndarray, served: np.ndarray, *, ties_within: float) -> int:
    """Rows, or pixels, whose served label has a logit clearly below the largest."""
    chosen = np.take_along_axis(logits, served.argmax(axis=1)[:, None], axis=1)[:, 0]
    return int((logits.max(axis=1) - chosen > ties_within).sum())

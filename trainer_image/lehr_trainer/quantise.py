"""model.int8.onnx: the exported graph in eight bits, published beside it only if it is worth having.

Weights are int8, one scale for each channel, and activations have scales of their own, which training rows give: static
quantisation, written as QuantizeLinear and DequantizeLinear around each operator. Scales that are taken from each batch
(dynamic quantisation) would make a row's answer depend on the rows beside it, so that what is judged is not what
serves; for convolutions they are also slower than float32.

It is worth having if, on the rows that the export is proven on, it is right at most 0.1 percentage points less often
than the float32 graph, and if one row takes it less time on one thread; both are measured here, on the machine that
trained. What was measured is published in training.json, with the reason where the graph is not.

https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from lehr.contracts.file_units import IGNORED
from lehr.contracts.package import INT8_FILE, MODEL_FILE, Signature
from lehr.contracts.training import Int8
from lehr_runtime.graphs import check_graph
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import check_signature, open_session

# Of 1: a tenth of a percentage point.
MAX_ACCURACY_LOSS = 0.001
CALIBRATION_ROWS = 256
_EVALUATED_AT_ONCE = 256
# All rows if that takes no longer, but as many as a tenth of a point needs to be a row.
_JUDGED_FOR_S = 10.0
_JUDGED_ROWS = 1000
_TIMED_RUNS = 201
_TIMED_FOR_S = 2.0
_PRODUCTS = {"Gemm", "MatMul"}
_HEAVY = _PRODUCTS | {"Conv", "ConvTranspose"}
# Not Softmax: probabilities of eight bits do not add up to one.
_QUANTISED = [
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Conv",
    "Gemm",
    "GlobalAveragePool",
    "MatMul",
    "MaxPool",
    "Relu",
]


def publish_int8(
    folder: Path, rows: np.ndarray, labels: np.ndarray, calibration: np.ndarray, signature: Signature
) -> Int8:
    """Make `folder`/model.int8.onnx of its model.onnx, measure both, and leave it there only if it is worth having.

    `rows` are uint8 [n, height, width] with `labels` [n], or masks; `calibration` are training rows.
    """
    graph = onnx.load(folder / MODEL_FILE)
    if not is_quantisable(graph):
        return Int8(is_published=False, reason="the graph has neither convolutions nor products of matrices")
    path = folder / INT8_FILE
    try:
        write_int8(graph, path, calibration[:CALIBRATION_ROWS])
        check_graph(path.read_bytes(), place=path.name)
        exact, int8 = (_open(folder / name, signature) for name in (MODEL_FILE, INT8_FILE))
        times = time_one_row([exact, int8], rows)
        judged = min(len(rows), max(_JUDGED_ROWS, int(_JUDGED_FOR_S / sum(times))))
        accuracies = [_accuracy(one, rows[:judged], labels[:judged]) for one in (exact, int8)]
    except Exception as fault:
        # Whatever the quantiser does not bear, a training does not fail by it: float32 is what was proven.
        path.unlink(missing_ok=True)
        return Int8(is_published=False, reason=f"cannot be made: {' '.join(str(fault).split())[:300]}")
    reason = verdict(*accuracies, *times)
    size = path.stat().st_size
    if reason:
        path.unlink()
    return Int8(
        is_published=not reason,
        reason=reason,
        rows=judged,
        bytes=size,
        float32_accuracy=accuracies[0],
        int8_accuracy=accuracies[1],
        float32_p50_us=times[0] * 1e6,
        int8_p50_us=times[1] * 1e6,
    )


def verdict(float32_accuracy: float, int8_accuracy: float, float32_s: float, int8_s: float) -> str:
    """Why an int8 graph of these figures is not worth having; empty if it is. NaN never is."""
    loss = float32_accuracy - int8_accuracy
    # The margin is for the rounding of a difference, not for one more row.
    if not loss <= MAX_ACCURACY_LOSS + 1e-9:
        return (
            f"it loses {loss * 100:.2f} percentage points of accuracy, more than {MAX_ACCURACY_LOSS * 100:g}"
        )
    if not int8_s < float32_s:
        return f"it is not faster: one row takes {int8_s * 1e6:.1f} us, float32 {float32_s * 1e6:.1f}"
    return ""


def is_quantisable(graph: Any) -> bool:
    """Whether it has an operator that eight bits could make faster."""
    return any(node.op_type in _HEAVY for node in graph.graph.node)


def write_int8(graph: Any, path: Path, calibration: np.ndarray) -> None:
    """Write the graph in eight bits to `path`; `calibration` are raw inputs."""
    from onnxruntime import quantization
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    # The quantiser changes what it is given.
    graph = copy.deepcopy(graph)
    # Says that the graph is ready: shapes are inferred by the quantiser, constants were folded by the exporter.
    add_pre_process_metadata(graph)
    quantization.quantize_static(
        graph,
        path,
        _Rows(graph.graph.input[0].name, calibration),
        op_types_to_quantize=_QUANTISED,
        per_channel=True,
        # What a product gives stays float32: logits, above all, and it is the faster form.
        extra_options={"OpTypesToExcludeOutputQuantization": sorted(_PRODUCTS)},
    )


class _Rows:
    """A CalibrationDataReader: one row at a time, so that memory stays what it is."""

    def __init__(self, name: str, rows: np.ndarray) -> None:
        self._feeds: Iterator[dict[str, np.ndarray]] = ({name: row[None]} for row in rows)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def time_one_row(predictors: list[Predictor], rows: np.ndarray) -> list[float]:
    """Median seconds of one row through each, turn about, after one turn that is not counted."""
    seconds: list[list[float]] = [[] for _ in predictors]
    started = time.perf_counter()
    for number in range(_TIMED_RUNS):
        row = rows[number % len(rows)][None]
        for predictor, taken in zip(predictors, seconds, strict=True):
            before = time.perf_counter()
            predictor.predict(row)
            taken.append(time.perf_counter() - before)
        if time.perf_counter() - started > _TIMED_FOR_S and number:
            break
    return [statistics.median(taken[1:]) for taken in seconds]


def _open(path: Path, signature: Signature) -> Predictor:
    session = open_session(path, threads=1)
    check_signature(session, signature)
    return Predictor(session, signature)


def _accuracy(predictor: Predictor, rows: np.ndarray, labels: np.ndarray) -> float:
    right = 0
    for first in range(0, len(rows), _EVALUATED_AT_ONCE):
        part = slice(first, first + _EVALUATED_AT_ONCE)
        right += int((predictor.predict(rows[part]).argmax(axis=1) == labels[part]).sum())
    counted = int((labels != IGNORED).sum()) if labels.ndim > 1 else len(rows)
    return right / max(1, counted)


def int8_line(int8: Int8) -> str:
    """For a person, in the log."""
    if int8.float32_accuracy is None or int8.int8_accuracy is None:
        return f"no int8 graph: {int8.reason}"
    figures = (
        f"int8: accuracy {int8.int8_accuracy:.4f} for {int8.float32_accuracy:.4f} on {int8.rows} rows, "
        f"{int8.int8_p50_us:.1f} us for {int8.float32_p50_us:.1f} a row"
    )
    return (
        f"{figures}; published beside float32"
        if int8.is_published
        else f"{figures}; not published: {int8.reason}"
    )

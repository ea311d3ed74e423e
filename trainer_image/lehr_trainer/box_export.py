"""Export of a model that finds boxes: the graph decodes its maps, and the proof compares what it decodes from.

The graph gives one tensor, `detections` [batch, cells, 4 + classes], boxes and scores side by side. Scores hide
differences where they are near 0 and 1, so a copy of the graph gives their logits as well, as `lehr_trainer.export`
does with a softmax; boxes are compared as they are, in shares of the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from lehr.contracts.package import Signature, TensorSpec
from lehr.contracts.training import Parity
from lehr_runtime.detection import CORNERS
from lehr_trainer.boxes import answers_of, decode_maps
from lehr_trainer.errors import ExportParityError
from lehr_trainer.graph_probe import inner_tensor
from lehr_trainer.models import scale_pixels

DETECTIONS_OUTPUT = "detections"
# A detector has a map where a classifier has one number: fewer rows say as much.
PARITY_ROWS = 256


class ServedBoxes(nn.Module):  # type: ignore[misc]
    """The module between raw pixels and boxes with scores."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Any:
        return answers_of(self.model(scale_pixels(x)))


def make_box_signature(
    model: Any, task: str, input_shape: list[int], labels: list[str], *, name: str
) -> Signature:
    """How the exported graph is called; how many cells there are, the model itself says."""
    was_training = model.training
    device = next(model.parameters()).device
    with torch.inference_mode():
        maps = model.eval()(torch.zeros(1, *input_shape, device=device))
    model.train(was_training)
    return Signature(
        task=task,
        input=TensorSpec(name=name, dtype="uint8", shape=[-1, *input_shape]),
        output=TensorSpec(
            name=DETECTIONS_OUTPUT,
            dtype="float32",
            shape=[-1, int(maps.shape[2] * maps.shape[3]), CORNERS + len(labels)],
        ),
        labels=labels,
    )


def prove_boxes(
    model: Any,
    graph: Any,
    served: np.ndarray,
    rows: np.ndarray,
    *,
    threads: int,
    tolerance: float,
    large: float,
) -> Parity:
    """Compare `graph`, and what is `served` of it, with `model` on `rows`, uint8 [n, height, width, …].

    Logits may be `tolerance` apart, more beyond `large` ones, and so may boxes and scores. Raises ExportParityError.
    """
    with torch.inference_mode():
        maps = model(scale_pixels(torch.from_numpy(rows)))
        logits, answers = decode_maps(maps)[1].numpy(), answers_of(maps).numpy()
    if not np.isfinite(logits).all() or not np.isfinite(answers).all():
        raise ExportParityError(f"the trained model gives NaN or infinity on {len(rows)} real rows")
    exported = _logits_of_graph(graph, rows, threads=threads)
    parity = Parity(
        rows=len(rows),
        max_absolute_difference=max(
            float(np.abs(logits - exported).max()), float(np.abs(answers - served).max())
        ),
        tolerance=tolerance * max(1.0, float(np.abs(logits).max()) / large),
        argmax_disagreements=0,
    )
    # Written so that a NaN, which is neither greater nor smaller, is refused.
    if not parity.max_absolute_difference <= parity.tolerance:
        raise ExportParityError(
            f"the exported graph is not the trained model: on {len(rows)} rows boxes and logits differ by up to "
            f"{parity.max_absolute_difference:.3g} (tolerance {parity.tolerance:.3g})"
        )
    return parity


def _logits_of_graph(graph: Any, rows: np.ndarray, *, threads: int) -> np.ndarray:
    """Run a copy of the graph that also gives what enters the sigmoid of its scores."""
    by_output = {name: node for node in graph.graph.node for name in node.output}
    last = by_output.get(DETECTIONS_OUTPUT)
    scores = by_output.get(last.input[-1]) if last is not None and last.op_type == "Concat" else None
    if scores is None or scores.op_type != "Sigmoid":
        raise ExportParityError(f"the exported graph's {DETECTIONS_OUTPUT!r} are not boxes beside a sigmoid")
    return inner_tensor(graph, scores.input[0], rows, threads=threads)

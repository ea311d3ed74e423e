"""A tensor from within a graph: a copy of it gives it as one more output."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from lehr.contracts.package import MODEL_FILE
from lehr_runtime.session import open_session
from lehr_runtime.tables import Inputs
from lehr_trainer.table_export import feed


def inner_tensor(graph: Any, name: str, rows: Inputs, *, threads: int) -> np.ndarray:
    """The float32 tensor `name` of `graph` for `rows`; the graph itself stays as it is."""
    probed = onnx.ModelProto()
    probed.CopyFrom(graph)
    probed.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    with TemporaryDirectory() as folder:
        copy = Path(folder) / MODEL_FILE
        onnx.save(probed, copy)
        session = open_session(copy, threads=threads)
        return np.asarray(session.run([name], feed(rows, graph.graph.input[0].name))[0])

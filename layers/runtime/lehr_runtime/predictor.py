"""A session with its signature: raw inputs in, checked probabilities out."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from lehr.contracts.package import Signature
from lehr.errors import ModelPackageError

# float32 softmax over a thousand labels is within 1e-4 of one; logits or log-probabilities are not near.
_SUM_TOLERANCE = 1e-3


class Session(Protocol):
    """The one method of onnxruntime.InferenceSession that prediction needs."""

    def run(self, output_names: list[str], input_feed: dict[str, np.ndarray]) -> list[np.ndarray]: ...


class Predictor:
    """Answers batches; as thread-safe as the session, which ONNX Runtime's is."""

    def __init__(self, session: Session, signature: Signature) -> None:
        self._session = session
        self._signature = signature

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Probabilities, float32 [n, labels], for raw inputs of the signature's dtype, [n, *shape].

        Raises ValueError for inputs of another dtype or shape, ModelPackageError if what the graph
        gives is no probability distribution (NaN, infinite, negative, or not of sum one).
        """
        spec = self._signature.input
        if (
            x.dtype != np.dtype(spec.dtype)
            or list(x.shape[1:]) != spec.shape[1:]
            or x.ndim != len(spec.shape)
        ):
            raise ValueError(f"inputs are {x.dtype} {x.shape}, the model takes {spec.dtype} {spec.shape}")
        output = self._session.run([self._signature.output.name], {spec.name: x})[0]
        if output.shape != (len(x), len(self._signature.labels)) or output.dtype != np.float32:
            raise ModelPackageError(
                f"the graph gave {output.dtype} {output.shape} for {len(x)} rows "
                f"of {len(self._signature.labels)} labels"
            )
        if not np.isfinite(output).all():
            bad = int(np.flatnonzero(~np.isfinite(output).all(axis=1))[0])
            raise ModelPackageError(f"the graph gave NaN or infinity for row {bad} of {len(x)}")
        if len(x) and (output.min() < 0 or np.abs(output.sum(axis=1) - 1).max() > _SUM_TOLERANCE):
            raise ModelPackageError("the graph's output is no probability distribution over the labels")
        return output

"""A session with its signature: raw inputs in, checked probabilities out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from lehr.contracts.detection_rules import DETECTIONS
from lehr.contracts.package import Signature
from lehr.errors import ModelPackageError
from lehr_runtime.tables import Inputs, Table

# float32 softmax over a thousand labels is within 1e-4 of one; logits or log-probabilities are not near.
_SUM_TOLERANCE = 1e-3
# Up to here Python's own sums of a list are several times faster than NumPy's of an array.
_SMALL = 256

Run = Callable[[list[str], dict[str, np.ndarray]], list[np.ndarray]]


class Session(Protocol):
    """The one method of onnxruntime.InferenceSession that prediction needs."""

    def run(self, output_names: list[str], input_feed: dict[str, np.ndarray]) -> list[np.ndarray]: ...


class Predictor:
    """Answers batches; as thread-safe as the session, which ONNX Runtime's is."""

    def __init__(self, session: Session, signature: Signature) -> None:
        self._run = _direct_run(session)
        self._input, self._outputs = signature.input.name, [signature.output.name]
        self._dtype, self._shape = np.dtype(signature.input.dtype), tuple(signature.input.shape[1:])
        self._labels = len(signature.labels)
        self._answer = tuple(signature.output.shape[1:])
        self._finds_boxes = signature.task in DETECTIONS
        self._table = signature.of_table

    def predict(self, x: Inputs) -> np.ndarray:
        """Probabilities, float32 [n, labels], for raw inputs of the signature's dtype, [n, *shape]; or values [n, 1].

        Where pixels have labels they are [n, labels, height, width]; of a model that finds boxes they are none, but
        [n, cells, 4 + labels], see `lehr_runtime.detection`.

        A model that takes categories is asked with a Table. Raises ValueError for inputs of another kind, dtype or
        shape, ModelPackageError if what the graph gives is no probability distribution (NaN, infinite, negative, or
        not of sum one), or no finite values, or no boxes and scores within 0 and 1.
        """
        if self._table is not None:
            return self._predict_table(x)
        if isinstance(x, Table):
            raise ValueError("inputs are a table, the model takes none")
        if x.dtype != self._dtype or x.shape[1:] != self._shape or not x.ndim:
            raise ValueError(
                f"inputs are {x.dtype} {x.shape}, the model takes {self._dtype} {(-1, *self._shape)}"
            )
        output = self._run(self._outputs, {self._input: x})[0]
        if output.shape != (len(x), *self._answer) or output.dtype != np.float32:
            raise ModelPackageError(
                f"the graph gave {output.dtype} {output.shape} for {len(x)} rows of {self._labels} labels"
            )
        if self._finds_boxes:
            # Written so that a NaN, which is neither greater nor smaller, is refused.
            if output.size and not (output.min() >= 0 and output.max() <= 1):
                raise ModelPackageError("the graph's output is no boxes and scores within 0 and 1")
            return output
        if not _are_distributions(output):
            raise _no_distribution(output)
        return output

    def _predict_table(self, x: Inputs) -> np.ndarray:
        assert self._table is not None
        spec = self._table.categories
        numbers = x.numbers if isinstance(x, Table) else x
        if (
            isinstance(x, Table) != (spec is not None)
            or numbers.dtype != self._dtype
            or numbers.shape[1:] != self._shape
            or (isinstance(x, Table) and spec and list(x.categories.shape[1:]) != spec.shape[1:])
        ):
            raise ValueError(
                f"inputs are numbers {numbers.dtype} {numbers.shape} with{'' if isinstance(x, Table) else 'out'} "
                f"categories, the model takes {(-1, *self._shape)} with{'' if spec else 'out'} categories"
            )
        feed = {self._input: numbers}
        if isinstance(x, Table) and spec:
            feed[spec.name] = x.categories
        output = self._run(self._outputs, feed)[0]
        if output.shape != (len(x), self._labels or 1) or output.dtype != np.float32:
            raise ModelPackageError(f"the graph gave {output.dtype} {output.shape} for {len(x)} rows")
        if self._labels and not _are_distributions(output):
            raise _no_distribution(output)
        if not self._labels and not np.isfinite(output).all():
            raise _no_distribution(output)
        return output


def _are_distributions(output: np.ndarray) -> bool:
    """Whether each row is finite, nowhere negative, and of sum one: NaN and infinity make a sum that is not."""
    if output.size > _SMALL or output.ndim > 2:
        return bool(output.min() >= 0 and np.abs(output.sum(axis=1) - 1).max() <= _SUM_TOLERANCE)
    return all(min(row) >= 0 and abs(sum(row) - 1) <= _SUM_TOLERANCE for row in output.tolist())


def _no_distribution(output: np.ndarray) -> ModelPackageError:
    """What is wrong with an output, and in which row first."""
    is_finite = np.isfinite(output).reshape(len(output), -1).all(axis=1)
    if not is_finite.all():
        bad = int(np.flatnonzero(~is_finite)[0])
        return ModelPackageError(f"the graph gave NaN or infinity for row {bad} of {len(output)}")
    return ModelPackageError("the graph's output is no probability distribution over the labels")


def _direct_run(session: Session) -> Run:
    """`session.run` without onnxruntime's own checks in Python, which predict has made once for all calls.

    They are 2 of 17 microseconds of a small network. What is below them is private (onnxruntime 1.32:
    InferenceSession._sess): where it is not there, the public method does.
    """
    inner = getattr(session, "_sess", None)
    if inner is None:
        return session.run
    run = inner.run
    return lambda names, feed: run(names, feed, None)

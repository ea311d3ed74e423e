"""Batch predictions: what is asked for, the plan's units, what each of them gave, and the result."""

from __future__ import annotations

from typing import Literal

from lehr.contracts.dataset import ObjectRef
from lehr.contracts.document import Document, Part
from lehr.contracts.workflow import S3Location


class BatchRequest(Document, frozen=True, kw_only=True):
    """The body of POST /predict/batch/{project}: an S3 URI, an upload made before, or neither for an upload URL."""

    input: str = ""
    batch: str = ""


class Batch(Document, frozen=True, kw_only=True):
    """`batch.json`: what a batch was planned with. `rows` counts those that the files' headers promise."""

    schema: Literal[1] = 1
    project: str
    batch: str
    input: str
    model_version: str
    files: int
    units: int
    rows: int


class BatchUnit(Document, frozen=True, kw_only=True):
    """One unit of the plan: rows [first, first + count) of a file; a count of 0 is the whole of it."""

    schema: Literal[1] = 1
    project: str
    batch: str
    model_version: str
    index: int
    source: ObjectRef
    first: int
    count: int


class BatchUnitResult(Document, frozen=True, kw_only=True):
    """What a unit has predicted, or why its rows were refused."""

    schema: Literal[1] = 1
    index: int
    key: str
    first: int
    rows: int
    bytes: int
    refused: str = ""


class BatchInput(Document, frozen=True, kw_only=True):
    """Input of the execution, written by start_batch."""

    schema: Literal[1] = 1
    project: str
    batch: str
    plan: S3Location


class BatchFailure(Part, frozen=True, kw_only=True):
    """Why a batch has no result: the state that failed, the error's name, and its cause."""

    state: str
    error: str
    cause: str


class SealBatchRequest(Document, frozen=True, kw_only=True):
    """Input of SealBatch; with a failure there is nothing to join, and it is recorded instead."""

    project: str
    batch: str
    failure: BatchFailure | None = None


class RefusedRows(Part, frozen=True, kw_only=True):
    """A unit without predictions: its file, its first row there, and the reason."""

    key: str
    first: int
    reason: str


class BatchResult(Document, frozen=True, kw_only=True):
    """`result.json`: the files of predictions in order, or the failure; written last."""

    schema: Literal[1] = 1
    project: str
    batch: str
    model_version: str
    status: Literal["done", "failed"]
    units: int
    rows: int
    refused_units: int
    refused: list[RefusedRows]
    files: list[str]
    failure: BatchFailure | None = None


class SealedBatch(Document, frozen=True, kw_only=True):
    """Output of SealBatch."""

    status: Literal["done", "failed"]
    rows: int
    refused_units: int


class PredictedRow(Part, frozen=True, kw_only=True):
    """One line of the result: the likeliest label of one input row."""

    key: str
    row: int
    label: str
    probability: float
    model_version: str


class PredictedNumber(Part, frozen=True, kw_only=True):
    """One line of the result of a model that predicts a number: `value` in the target's units."""

    key: str
    row: int
    value: float
    model_version: str

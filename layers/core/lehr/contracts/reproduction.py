"""Training a model again by its lineage: what an execution is told, and what the comparison has come to."""

from __future__ import annotations

from typing import Literal

import msgspec

from lehr.contracts.document import Document, Part
from lehr.contracts.training import Trial
from lehr.contracts.workflow import PublishedTrainer, RunInput, SealedDataset, TrialResult

# Of the largest difference of an answer: a probability, or a share of the largest golden value.
DEFAULT_TOLERANCE = 0.02


class Reproduction(Part, frozen=True, kw_only=True):
    """What is trained again, in the place of what a run prepares, publishes and proposes."""

    version: str
    tolerance: float
    dataset: SealedDataset
    trainer: PublishedTrainer
    trial: Trial


class ReproduceInput(RunInput, frozen=True, kw_only=True):
    """Input of an execution that trains a model again; its `run` is in no registry, and it leads to no promotion."""

    reproduction: Reproduction


class CompareRequest(Document, frozen=True, kw_only=True):
    """Input of CompareReproduction."""

    project: str
    run: str
    version: str
    tolerance: float
    result: TrialResult


class Compared(Part, frozen=True, kw_only=True):
    """A figure or a circumstance of both trainings, as text; `name` says which."""

    name: str
    original: str
    again: str


class Comparison(Document, frozen=True, kw_only=True):
    """`reproduction.json`, and the output of CompareReproduction.

    "identical": the weights have the same sha256, so every bit is the same. "within_tolerance": the answers to the
    golden rows differ by `tolerance` at most, and no row gets another label. "failed": the training has not ended, and
    `reason` says why. `max_logit_difference` is of log-probabilities, which are the logits up to a constant of each
    row; None of what gives no probabilities. `rows` is 0 of a package without golden rows: only its figures can be
    compared. `circumstances` are those that differ: any of them may change bits.
    """

    schema: Literal[1] = 1
    project: str
    run: str
    version: str
    outcome: Literal["identical", "within_tolerance", "different", "failed"]
    reason: str = ""
    job: str = ""
    weights_sha256: str = ""
    weights_sha256_again: str = ""
    is_graph_identical: bool = False
    rows: int = 0
    tolerance: float
    max_difference: float | None = None
    max_logit_difference: float | None = None
    label_changes: int | None = None
    figures: list[Compared] = msgspec.field(default_factory=list)
    circumstances: list[Compared] = msgspec.field(default_factory=list)

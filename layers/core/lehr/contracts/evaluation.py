"""Statistics of a model on one test shard, mergeable by addition, and the report they add up to."""

from __future__ import annotations

from typing import Literal

from lehr.contracts.dataset import Shard
from lehr.contracts.document import Document, Part

CALIBRATION_BINS = 15


class EvaluateUnit(Document, frozen=True, kw_only=True):
    """One shard to evaluate: candidate and champion (model versions) see the same rows in the same pass."""

    schema: Literal[1] = 1
    project: str
    run: str
    index: int
    of: int
    shard: Shard
    candidate: str
    champion: str | None = None


class ClassificationCounts(Part, frozen=True, kw_only=True):
    """Sums over rows. `confusion[true][predicted]`; log loss in nats; calibration per confidence bin."""

    rows: int
    confusion: list[list[int]]
    log_loss_sum: float
    bin_rows: list[int]
    bin_confidence_sum: list[float]
    bin_correct: list[int]
    seconds: float


class PairedCounts(Part, frozen=True, kw_only=True):
    """Rows by who was right, for McNemar's test."""

    both: int
    only_candidate: int
    only_champion: int
    neither: int


class ShardEvaluation(Document, frozen=True, kw_only=True):
    """What one unit of evaluation writes."""

    schema: Literal[1] = 1
    index: int
    candidate: ClassificationCounts
    champion: ClassificationCounts | None = None
    paired: PairedCounts | None = None


class ClassReport(Part, frozen=True, kw_only=True):
    """Precision, recall and F1 of one label; 0 where undefined, as scikit-learn's zero_division=0."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class ClassificationMetrics(Part, frozen=True, kw_only=True):
    """Metrics of one model on the whole test split."""

    rows: int
    accuracy: float
    macro_f1: float
    log_loss: float
    expected_calibration_error: float
    majority_share: float
    rows_per_second: float
    confusion: list[list[int]]
    classes: list[ClassReport]


class EvaluationReport(Document, frozen=True, kw_only=True):
    """`evaluation.json`: candidate and champion on the same rows of the same dataset version."""

    schema: Literal[1] = 1
    project: str
    run: str
    dataset_version: str
    candidate_version: str
    champion_version: str | None = None
    candidate: ClassificationMetrics
    champion: ClassificationMetrics | None = None
    paired: PairedCounts | None = None


class RuleResult(Part, frozen=True, kw_only=True):
    """One rule of the gate: what it asks, what it saw, and its verdict."""

    rule: str
    required: str
    observed: str
    passed: bool


class Decision(Document, frozen=True, kw_only=True):
    """`decision.json`: every rule with its numbers, and the sentence that a person reads."""

    schema: Literal[1] = 1
    verdict: Literal["promote", "reject"]
    reason: str
    rules: list[RuleResult]

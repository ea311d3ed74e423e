"""Statistics of a model on one test shard, mergeable by addition, and the report they add up to."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from lehr.contracts.comparison import ComparedReport, ShardPart, Slicing
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
    slices: list[Slicing] = field(default_factory=list)


class ScoreHistograms(Part, frozen=True, kw_only=True):
    """How many rows of each label, and of all others, have which probability of it, for the areas under curves.

    Arrays of uint64 [curves, bins], little-endian and deflated: `lehr_runtime.ranking` has the bins. Two labels have
    one curve, that of the second.
    """

    positives: bytes
    negatives: bytes


class ClassificationCounts(Part, frozen=True, kw_only=True):
    """Sums over rows. `confusion[true][predicted]`; log loss in nats; calibration per confidence bin."""

    rows: int
    confusion: list[list[int]]
    log_loss_sum: float
    bin_rows: list[int]
    bin_confidence_sum: list[float]
    bin_correct: list[int]
    seconds: float
    scores: ScoreHistograms | None = None


class SliceSums(Part, frozen=True, kw_only=True):
    """Sums over the rows of a slice; `hits`, `support` and `predicted` are rows by label."""

    rows: int
    hits: list[int]
    support: list[int]
    predicted: list[int]
    log_loss_sum: float


class PairedCounts(Part, frozen=True, kw_only=True):
    """Rows by who was right, for McNemar's test."""

    both: int
    only_candidate: int
    only_champion: int
    neither: int


class ClassificationSlice(Part, frozen=True, kw_only=True):
    """A slice of the shard's rows, in which there is at least one."""

    by: str
    value: str
    candidate: SliceSums
    champion: SliceSums | None = None
    paired: PairedCounts | None = None


class ShardEvaluation(ShardPart, frozen=True, kw_only=True):
    """What one unit of evaluation writes."""

    schema: Literal[1] = 1
    candidate: ClassificationCounts
    champion: ClassificationCounts | None = None
    paired: PairedCounts | None = None
    slices: list[ClassificationSlice] = field(default_factory=list)


class ClassReport(Part, frozen=True, kw_only=True):
    """Precision, recall and F1 of one label; 0 where undefined, as scikit-learn's zero_division=0."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class ReliabilityBin(Part, frozen=True, kw_only=True):
    """Rows whose largest probability is in (low, high], their mean of it, and the share that is right."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


class RankingMetrics(Part, frozen=True, kw_only=True):
    """Areas under curves: of two labels that of the second, of more the mean over the labels, each against the rest.

    `pr_auc` is the average precision. Either is exact but for `roc_auc_error` and `pr_auc_error`, bounds on what
    binning the probabilities can have changed.
    """

    roc_auc: float
    roc_auc_error: float
    pr_auc: float
    pr_auc_error: float


class ClassificationMetrics(Part, frozen=True, kw_only=True):
    """Metrics of one model on the whole test split; `ranking` is None where no label has both rows and others."""

    rows: int
    accuracy: float
    macro_f1: float
    log_loss: float
    expected_calibration_error: float
    majority_share: float
    rows_per_second: float
    confusion: list[list[int]]
    classes: list[ClassReport]
    macro_precision: float | None = None
    macro_recall: float | None = None
    ranking: RankingMetrics | None = None
    bins: list[ReliabilityBin] = field(default_factory=list)


class EvaluationReport(ComparedReport, frozen=True, kw_only=True):
    """`evaluation.json` of a classification."""

    schema: Literal[1] = 1
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

    @property
    def headline(self) -> str:
        """The reason where the rules stand below it or above: of several that failed the names alone."""
        failed = [rule.rule for rule in self.rules if not rule.passed]
        if len(failed) < 2:
            return self.reason
        return f"{len(failed)} of {len(self.rules)} rules failed: {', '.join(failed)}"

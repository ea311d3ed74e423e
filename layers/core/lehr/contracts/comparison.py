"""What evaluations of every task have in common: slices of the test, time and size of both models, a comparison.

What a shard writes merges by addition, or by joining lists; what a report says is of the whole test split.
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from lehr.contracts.document import Document, Part

# Values of one slicing beside OTHER and MISSING, and parts of a number's range.
MAX_SLICES = 20
OTHER, MISSING = "(other)", "(missing)"
# Of a Poisson bootstrap: the least share that it can tell is one of so many.
REPLICATES = 1000


class Slicing(Part, frozen=True, kw_only=True):
    """How the test rows are divided: by the values of a column, or by ranges of a number that begin at `edges`.

    Each row is in one slice of a slicing, so that slices add up to the whole.
    """

    by: str
    values: list[str] = field(default_factory=list)
    edges: list[float] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The slices in their order, such as `< 6`, `6 to 12`, `>= 12`: 6 is in the second."""
        if not self.edges:
            return [*self.values, OTHER, MISSING]
        inner = [f"{low:g} to {high:g}" for low, high in zip(self.edges[:-1], self.edges[1:], strict=True)]
        return [f"< {self.edges[0]:g}", *inner, f">= {self.edges[-1]:g}", MISSING]


class ModelTiming(Part, frozen=True, kw_only=True):
    """Predictions of one row each, in ms, and how large the package is, all its files together."""

    milliseconds: list[float]
    package_bytes: int


class ServingFigures(Part, frozen=True, kw_only=True):
    """What answering costs: quantiles of `predictions` of one row each, in the function that evaluated.

    With fewer than a hundred predictions the 99th percentile is the longest of them.
    """

    predictions: int
    median_ms: float
    p99_ms: float
    package_bytes: int


class PairedBootstrap(Part, frozen=True, kw_only=True):
    """Sums of one value per row, of both models on the same rows, and the same in each of REPLICATES resamples.

    Little-endian arrays of REPLICATES: `weights` are uint64, `candidate` and `champion` float64.
    """

    rows: int
    candidate_sum: float
    champion_sum: float
    weights: bytes
    candidate: bytes
    champion: bytes


class Comparison(Part, frozen=True, kw_only=True):
    """Candidate against champion on the same rows, and what chance alone would do.

    `p_gain` is how likely so large a gain is between equals, `p_loss` so large a loss; both are one-sided. `gain` is
    that of `measure` (above 0: the candidate is better), with a one-sided 95 % bound `gain_at_least` where the method
    gives one. McNemar's test has the rows that one alone has right, and the `rows_to_tell` that would make the gain
    significant four times in five, if it is real.
    """

    method: Literal["mcnemar", "bootstrap"]
    measure: str
    rows: int
    gain: float
    p_gain: float
    p_loss: float
    gain_at_least: float | None = None
    only_candidate: int = 0
    only_champion: int = 0
    rows_to_tell: int | None = None


class SliceReport(Part, frozen=True, kw_only=True):
    """One slice of the test: `candidate` and `champion` are its metrics by name.

    `measures` are the names in order, first the one that the gate asks for; `p_loss` is that of Comparison, on the rows
    of this slice.
    """

    by: str
    value: str
    rows: int
    measures: list[str]
    candidate: dict[str, float]
    champion: dict[str, float] | None = None
    p_loss: float | None = None


class ShardPart(Document, frozen=True, kw_only=True):
    """What every unit of evaluation writes, whatever the task: of which rows, and of which models."""

    index: int
    shard_sha256: str = ""
    candidate_version: str = ""
    champion_version: str | None = None
    candidate_timing: ModelTiming | None = None
    champion_timing: ModelTiming | None = None


class ComparedReport(Document, frozen=True, kw_only=True):
    """What every `evaluation.json` has: candidate and champion on the same rows of the same dataset version.

    Evaluations of before these figures were taken have none of them.
    """

    project: str
    run: str
    dataset_version: str
    candidate_version: str
    champion_version: str | None = None
    candidate_serving: ServingFigures | None = None
    champion_serving: ServingFigures | None = None
    comparison: Comparison | None = None
    slices: list[SliceReport] = field(default_factory=list)

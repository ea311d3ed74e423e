"""What a unit of preparation has seen, small enough to merge over many of them, and what it comes to for a version.

Whatever the data is, it is examples of a label (or of a number to predict) and a few numbers about each: the cells of
a table, the brightness of an image. So one set of types serves every kind of data.
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from lehr.contracts.document import Document, Part

# Equal shares of the rows: a rank is off by at most one of them in a unit, and by two in a merged sketch.
QUANTILES = 65
HISTOGRAM_BINS = 24
MAX_TOP_VALUES = 20


class NumberSketch(Part, frozen=True, kw_only=True):
    """Of one number over a unit's training rows; `quantiles` are QUANTILES values from the least to the greatest.

    Sums are of what is there; without any row `quantiles` is empty.
    """

    name: str
    rows: int
    missing: int
    total: float
    squares: float
    quantiles: list[float]


class Sample(Part, frozen=True, kw_only=True):
    """An example to look at: the cells of a row, or a picture as PNG (base64).

    `label` is its label or the number to predict, as text; a unit of images knows its labels by their numbers.
    """

    label: str
    cells: list[str] = field(default_factory=list)
    png: str = ""


class UnitProfile(Document, frozen=True, kw_only=True):
    """Beside the unit's result: of its training rows alone, but for `out_of_range`, which counts rows of all splits.

    `determined` says of each column how much of the target it alone tells (`lehr_runtime.sketches`). A target that is
    a number has its sketch in `target`.
    """

    schema: Literal[1] = 1
    index: int
    rows: int
    numbers: list[NumberSketch]
    determined: dict[str, float]
    samples: list[Sample]
    target: NumberSketch | None = None
    out_of_range: dict[str, int] = field(default_factory=dict)


class NumberStatistics(Part, frozen=True, kw_only=True):
    """Of one number over all training rows that have it. `histogram` counts rows in equal bins from the least to the
    greatest value, interpolated from `quantiles`, which are QUANTILES values; without any row all of it is empty or 0.
    """

    name: str
    rows: int
    missing: int
    mean: float
    std: float
    min: float
    max: float
    quantiles: list[float]
    histogram: list[int]


class ValueCount(Part, frozen=True, kw_only=True):
    """A value of a category, and how many training rows have it."""

    value: str
    rows: int


class CategoryStatistics(Part, frozen=True, kw_only=True):
    """Of one category over all training rows; `top` are the commonest values, none of a hashed one."""

    name: str
    rows: int
    missing: int
    distinct: int
    top: list[ValueCount]


class DatasetStatistics(Document, frozen=True, kw_only=True):
    """datasets/<project>/<version>/statistics.json: a function of the version's content alone.

    `class_counts` are in the order of `labels`, by split. Columns are in the schema's order, numbers first.
    """

    schema: Literal[1] = 1
    project: str
    format: str
    input_shape: list[int]
    labels: list[str]
    rows: dict[str, int]
    class_counts: dict[str, list[int]]
    numbers: list[NumberStatistics]
    categories: list[CategoryStatistics]
    determined: dict[str, float]
    target: NumberStatistics | None = None

    def class_fractions(self, split: str = "train") -> dict[str, float]:
        """The share of a split's rows that has each label."""
        counts = self.class_counts.get(split, [])
        total = sum(counts) or 1
        return {label: count / total for label, count in zip(self.labels, counts, strict=False)}


class DatasetSamples(Document, frozen=True, kw_only=True):
    """datasets/<project>/<version>/samples.json: a few training rows; `columns` name the cells, where there are any."""

    schema: Literal[1] = 1
    columns: list[str]
    samples: list[Sample]

"""Raw objects, the plan that cuts them into units of work, and the manifest of what came out."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from lehr.contracts.document import Document, Part
from lehr.contracts.tables import TableStatistics

Split = Literal["train", "validation", "test"]


class ObjectRef(Part, frozen=True, kw_only=True):
    """An S3 object pinned by its ETag, so that overwriting it during a run is noticed; or does not matter, where it is
    pinned by its version too. A manifest has no versions: the same bytes are the same dataset.
    """

    bucket: str
    key: str
    etag: str
    bytes: int
    version: str | UnsetType = UNSET

    @property
    def version_or_none(self) -> str:
        """`version`, empty if it has none."""
        return "" if self.version is UNSET else self.version

    @property
    def of_content(self) -> ObjectRef:
        """Without its version, as a manifest has it."""
        return msgspec.structs.replace(self, version=UNSET)


class PrepareUnit(Document, frozen=True, kw_only=True):
    """One unit of preparation: rows [first, first + count) of a seeded permutation of a source of `total` rows."""

    schema: Literal[1] = 1
    project: str
    run: str
    index: int
    of: int
    source: Literal["train", "test"]
    images: ObjectRef
    labels: ObjectRef
    first: int
    count: int
    total: int
    seed: int
    validation_fraction: float
    classes: int


class Shard(Part, frozen=True, kw_only=True):
    """A safetensors file with `x` (uint8 [rows, *shape], of sound int16 [rows, samples]) and `y` (uint8 [rows]).

    Of a table: see `lehr_runtime.tables`. Where pixels have labels `y` is uint8 [rows, height, width], and 255 counts
    nowhere. `class_counts` are rows of each label, or pixels; they are empty where a number is predicted.
    """

    split: Split
    key: str
    rows: int
    bytes: int
    sha256: str
    class_counts: list[int]


class UnitResult(Document, frozen=True, kw_only=True):
    """What a unit has written, and the exact integer sums from which statistics merge; `refused` examples were set
    aside.
    """

    schema: Literal[1] = 1
    index: int
    shards: list[Shard]
    input_shape: list[int]
    pixel_sum: int
    pixel_square_sum: int
    pixels: int
    refused: int = 0


class RawList(Part, frozen=True, kw_only=True):
    """A FileList of raw files that a dataset version was made of; `key` is relative to the project's datasets."""

    key: str
    sha256: str
    files: int


class DatasetManifest(Document, frozen=True, kw_only=True):
    """The list of a dataset version's shards. Its sha256 *is* the version.

    A shard's key is made of its own sha256, and relative to the project's datasets: versions share what they have in
    common.

    `mean` and `std` are of the training split's inputs, in units of the raw pixels (0 to 255) or samples. A table has
    `table` instead, with statistics of each column, and its `input_shape` counts numbers and categories together. Where
    each example is a file of its own, they stand in `raw_lists`, and `raw` has what describes them.
    """

    schema: Literal[1] = 1
    project: str
    format: str
    input_shape: list[int]
    input_dtype: Literal["uint8", "int16", "float32"]
    labels: list[str]
    shards: list[Shard]
    mean: float
    std: float
    raw: list[ObjectRef]
    seed: int
    validation_fraction: float
    table: TableStatistics | UnsetType = UNSET
    raw_lists: list[RawList] | UnsetType = UNSET

    @property
    def of_table(self) -> TableStatistics | None:
        """`table`, or None of a dataset of something else."""
        return None if self.table is UNSET else self.table

    def rows(self, split: Split) -> int:
        """Number of examples in a split."""
        return sum(shard.rows for shard in self.shards if shard.split == split)

    def class_counts(self, split: Split) -> list[int]:
        """Number of examples of each label in a split, or of pixels, in the order of the labels."""
        counts = [0] * len(self.labels)
        for shard in self.shards:
            if shard.split == split:
                counts = [total + count for total, count in zip(counts, shard.class_counts, strict=True)]
        return counts

"""[data] and [checks] of lehr.toml: what is dropped, how it is cut, and what becomes of data with a flaw.

Which keys belong to which format stands in data_rules and check_rules.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from lehr.contracts.document import Part
from lehr.contracts.key_types import (
    Fraction,
    Key,
    NonNegativeFloat,
    Policy,
    Probability,
    RowPolicy,
    SampleRate,
    Side,
)


class LabelledFiles(Part, frozen=True, kw_only=True):
    """Two files that belong together, relative to the project's folder of incoming data."""

    images: Key
    labels: Key


class Data(Part, frozen=True, kw_only=True):
    """[data]: what is dropped, and how it is cut. Which keys belong to which format stands in data_rules.

    idx: `train` and `test` are pairs of files. csv, jsonl, parquet: `files` are names or patterns, as
    "flights-*.csv.gz", and so are `test_files`; without those, `test_fraction` of the rows are the test's. `target` is
    the column to predict, and `columns` says what the inference from the first rows would not. folders: `files` and
    `test_files` are patterns of images, each in the folder of its label, which are brought to `image_size`, [height,
    width], and `channels`; or of recordings, brought to `sample_rate`, in Hz, and a length of `seconds`. manifest:
    `manifest` is a file that names each file with its label. masks: images that have one of `masks` each, with a label
    for every pixel; `ignore_value` counts nowhere.
    width], and `channels`. coco: `annotations` and `test_annotations` are files of COCO's JSON, and `images` the folder
    of their images, left out the one that each lies in; boxes of `ignore_labels` are left out; no image has more than
    `max_boxes`.
    """

    format: Literal["idx", "csv", "jsonl", "parquet", "folders", "manifest", "masks", "coco"]
    train: LabelledFiles | None = None
    test: LabelledFiles | None = None
    files: tuple[Key, ...] = ()
    test_files: tuple[Key, ...] = ()
    test_fraction: Fraction | None = None
    target: str = ""
    columns: dict[str, Literal["number", "category", "ignore", "pii_drop", "pii_hash"]] = field(
        default_factory=dict
    )
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    image_size: tuple[Side, Side] | None = None
    channels: Literal[1, 3] | None = None
    masks: tuple[Key, ...] = ()
    ignore_value: Annotated[int, Meta(ge=0, le=255)] | None = None
    sample_rate: SampleRate | None = None
    seconds: Annotated[float, Meta(gt=0.0, le=60.0)] | None = None
    manifest: Key | None = None
    annotations: Key | None = None
    test_annotations: Key | None = None
    images: Key | None = None
    ignore_labels: tuple[str, ...] = ()
    max_boxes: Annotated[int, Meta(ge=1, le=512)] | None = None
    missing: tuple[str, ...] | None = None
    max_refused_fraction: Fraction | None = None
    labels: Annotated[list[str], Meta(max_length=256)] = field(default_factory=list)
    validation_fraction: Fraction = 0.05
    rows_per_shard: Annotated[int, Meta(ge=100)] | None = None
    seed: int = 1

    @property
    def pairs(self) -> dict[Literal["train", "test"], LabelledFiles]:
        """The pairs of files of a format that has them; none of another."""
        if self.train is None or self.test is None:
            return {}
        return {"train": self.train, "test": self.test}


class Range(Part, frozen=True, kw_only=True):
    """Which values of a column are possible, both ends included; None: no bound."""

    min: float | None = None
    max: float | None = None


class Checks(Part, frozen=True, kw_only=True):
    """[checks]: what becomes of data that fails one of the checks of `lehr.data_checks`, and where they draw the line.

    "reject" refuses the run, "quarantine" sets the rows aside, "warn" says it in the data card and the report.
    """

    overlap: RowPolicy = "quarantine"
    duplicates: RowPolicy = "warn"
    out_of_range: RowPolicy = "quarantine"
    missing: Policy = "warn"
    constant: Policy = "warn"
    leakage: Policy = "warn"
    balance: Policy = "warn"
    size: Policy = "warn"
    schema_drift: Policy = "warn"
    label_drift: Policy = "warn"
    ranges: dict[str, Range] = field(default_factory=dict)
    max_missing_fraction: Probability = 0.5
    max_leakage: Probability = 0.99
    min_class_fraction: Fraction = 0.1
    min_class_rows: Annotated[int, Meta(ge=0)] = 10
    min_rows: Annotated[int, Meta(ge=0)] = 100
    max_label_drift: NonNegativeFloat = 0.1

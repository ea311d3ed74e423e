"""Examples that are files of their own, as images in folders or with masks: what is known of each, and their units of
work.

The files of a unit are too many to travel through the state: they stand in a list in S3, which `FileList` is.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from lehr.contracts.dataset import ObjectRef
from lehr.contracts.document import Document, Part

# In a prepared mask: a pixel that counts nowhere.
IGNORED = 255


class StoredFile(Part, frozen=True, kw_only=True):
    """A raw object of the data bucket, pinned by its ETag; its version stands in FileVersions."""

    key: str
    etag: str
    bytes: int


class Box(NamedTuple):
    """One object: a place in data.labels; left and top, width and height, as shares of the image's sides."""

    label: int
    x: float
    y: float
    width: float
    height: float


class Boxes(Part, frozen=True, kw_only=True):
    """The objects of an image that is `size` pixels large, [height, width]; there may be none."""

    size: tuple[int, int]
    boxes: list[Box]


class FileExample(Part, frozen=True, kw_only=True, omit_defaults=True):
    """One example. `label` is a place in data.labels, where the whole file has one; `mask` says those of its pixels,
    and `objects` are an image's.
    """

    file: StoredFile
    label: int | None = None
    mask: StoredFile | None = None
    objects: Boxes | None = None
    is_test: bool = False


class FileList(Document, frozen=True, kw_only=True):
    """The examples of one unit, in the order in which they were drawn."""

    schema: Literal[1] = 1
    examples: list[FileExample]


class FileVersions(Document, frozen=True, kw_only=True):
    """The versions of a FileList's files, and of their masks if they have such, in its order; empty where the bucket
    kept none.

    A document of its own, because the list is part of the dataset version, and the same bytes are the same dataset.
    """

    schema: Literal[1] = 1
    files: list[str]
    masks: list[str]


class ImageInput(Part, frozen=True, kw_only=True, tag="image"):
    """Images are decoded to uint8 of `shape`, [height, width] or [height, width, 3]; others are resized."""

    shape: list[int]


class AudioInput(Part, frozen=True, kw_only=True, tag="audio"):
    """Recordings are decoded to int16 of `samples` at `sample_rate` Hz: cut at the end, or filled up with silence."""

    sample_rate: int
    samples: int

    @property
    def shape(self) -> list[int]:
        return [self.samples]


FileInput = ImageInput | AudioInput


class PrepareFilesUnit(Document, frozen=True, kw_only=True):
    """One list of files to prepare; `list_key` is in the artifact bucket, and so is `versions_key`, empty where no file
    has a version.

    What belongs to validation is a function of each example's own content, and so is the test, unless files of the test
    are named. Pixels of a mask that have `ignore_value` become IGNORED. `described_by` are the files that say what the
    examples are: annotations, or a manifest.
    """

    schema: Literal[1] = 1
    kind: Literal["files"] = "files"
    project: str
    run: str
    index: int
    of: int
    bucket: str
    list_key: str
    versions_key: str = ""
    count: int
    task: str
    input: FileInput
    classes: int
    ignore_value: int | None = None
    max_boxes: int | None = None
    validation_fraction: float
    test_fraction: float
    max_refused_fraction: float
    described_by: list[ObjectRef] = msgspec.field(default_factory=list)

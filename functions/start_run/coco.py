"""Annotations in COCO's JSON: which images there are, what is in each, and what of it is no box.

https://cocodataset.org/#format-data. What a file says of outlines, areas and licences is passed over. It is read at
planning, so that what is wrong with it is said before anything is started, with the id of the annotation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from functions.start_run.pins import read
from lehr.contracts.data_rules import DEFAULT_MAX_BOXES
from lehr.contracts.data_tables import Data
from lehr.contracts.file_units import Box, Boxes, FileExample, StoredFile
from lehr.contracts.recipe import Recipe
from lehr.errors import InsufficientDataError, MalformedDataError, MismatchedDataError, MissingDataError
from lehr.file_formats import beside, is_archive_name, member_name
from lehr.layout import READY, incoming_prefix
from lehr.ports import ObjectStore, StoredObject

# Of all files together: 46 MB with 360,000 boxes took 281 MB at planning, of the function's 512.
MAX_ANNOTATION_BYTES = 48 << 20
# How far a box may reach over the image's edge, in pixels; it is cut off there. Rounding of tools gives up to one.
EDGE_TOLERANCE = 1.0
MIN_SIDE = 1e-3


class _Image(msgspec.Struct, frozen=True, gc=False):
    id: int
    file_name: str
    width: int
    height: int


class _Annotation(msgspec.Struct, frozen=True, gc=False):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _Category(msgspec.Struct, frozen=True):
    id: int
    name: str


class _Coco(msgspec.Struct, frozen=True):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True)
class Annotated:
    """The examples of all files of annotations, whether some are the test's, and what was passed over."""

    examples: list[FileExample]
    has_test: bool
    crowds: int
    ignored: int

    @property
    def note(self) -> str:
        passed = [
            f"{self.crowds} crowds" if self.crowds else "",
            f"{self.ignored} ignored boxes" if self.ignored else "",
        ]
        return f", without {' and '.join(filter(None, passed))}" if any(passed) else ""


def annotated_files(data: Data, names: Sequence[str]) -> list[str]:
    """Files of annotations, and every file below the folders of their images, in order."""
    annotations = annotation_files(data)
    folders = [_folder(data, name) for name in annotations]
    return sorted({name for name in names if name in annotations or name.startswith(tuple(folders))})


def read_annotations(recipe: Recipe, raw: Mapping[str, StoredObject], data: ObjectStore) -> Annotated:
    """Read and check the files of annotations. Raises DataError's children, with the place."""
    said, prefix = recipe.data, incoming_prefix(recipe.project.name)
    examples: list[FileExample] = []
    crowds = ignored = 0
    seen: dict[str, str] = {}
    _refuse_too_large([raw[name] for name in annotation_files(said) if name in raw], data)
    for name in annotation_files(said):
        if name not in raw:
            raise MissingDataError(
                f"{name} not found", place=data.uri(prefix), hint=f"upload it and its images, then {READY}"
            )
        place = data.uri(raw[name].key)
        coco = _parse(raw[name], data, place)
        labels = _labels_by_category(coco, said, place)
        images = _images_by_id(coco, place)
        found, passed = _boxes_by_image(coco, images, labels, place)
        crowds, ignored = crowds + passed[0], ignored + passed[1]
        for image in images.values():
            path = beside(_folder(said, name) + "x", image.file_name)
            if path not in raw:
                raise MissingDataError(
                    f"image {image.id}: {path} not found", place=place, hint=f"upload it, then {READY} again"
                )
            if path in seen:
                raise MismatchedDataError(
                    f"image {image.id}: {path} is in {seen[path]} as well",
                    place=place,
                    hint="name each image once: none may be learnt from and tested on",
                )
            seen[path] = name
            boxes = found.get(image.id, [])
            _refuse_too_many(boxes, image, said, place)
            entry = raw[path]
            examples.append(
                FileExample(
                    file=StoredFile(key=entry.key, etag=entry.etag, bytes=entry.bytes),
                    objects=Boxes(size=(image.height, image.width), boxes=boxes),
                    is_test=name == said.test_annotations,
                )
            )
    _refuse_absent_labels(examples, said.labels, data.uri(prefix))
    return Annotated(examples, said.test_annotations is not None, crowds, ignored)


def annotation_files(data: Data) -> list[str]:
    return [name for name in (data.annotations, data.test_annotations) if name]


def _folder(data: Data, annotations: str) -> str:
    """Where the images of a file of annotations lie, up to the first character of a name there."""
    if data.images:
        return member_name(data.images, "") if is_archive_name(data.images) else f"{data.images.rstrip('/')}/"
    return beside(annotations, "x").removesuffix("x")


def _refuse_too_large(entries: Sequence[StoredObject], data: ObjectStore) -> None:
    size = sum(entry.bytes for entry in entries)
    if size > MAX_ANNOTATION_BYTES:
        raise MalformedDataError(
            f"annotations of {size} bytes, more than {MAX_ANNOTATION_BYTES}",
            place=data.uri(entries[0].key),
            hint="leave outlines (segmentation) out of them: they are not read",
        )


def _parse(entry: StoredObject, data: ObjectStore, place: str) -> _Coco:
    try:
        return msgspec.json.decode(read(entry, data), type=_Coco)
    except KeyError as fault:
        raise MissingDataError("is not there", place=place, hint=f"it was deleted after {READY}") from fault
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise MalformedDataError(
            f"is no COCO JSON of objects: {fault}",
            place=place,
            hint="see https://cocodataset.org/#format-data",
        ) from fault


def _labels_by_category(coco: _Coco, data: Data, place: str) -> dict[int, int]:
    """Places in data.labels by the id of a category; -1 of one that is ignored."""
    names = [category.name for category in coco.categories]
    ids = [category.id for category in coco.categories]
    for what, values in (("name", names), ("id", ids)):
        if len(set(values)) != len(values):
            raise MalformedDataError(f"two categories have one {what}", place=place, hint="give each its own")
    unknown = [name for name in names if name not in data.labels and name not in data.ignore_labels]
    if unknown:
        raise MismatchedDataError(
            f"its category {unknown[0]!r} is none of data.labels",
            place=place,
            hint="name it in data.labels, or in data.ignore_labels to leave its boxes out",
        )
    absent = [name for name in (*data.labels, *data.ignore_labels) if name not in names]
    if absent:
        raise MismatchedDataError(
            f"it has no category {absent[0]!r}", place=place, hint=f"it has {', '.join(names[:10])}"
        )
    return {
        category.id: data.labels.index(category.name) if category.name in data.labels else -1
        for category in coco.categories
    }


def _images_by_id(coco: _Coco, place: str) -> dict[int, _Image]:
    images: dict[int, _Image] = {}
    for image in coco.images:
        if image.id in images:
            raise MalformedDataError(f"two images have the id {image.id}", place=place)
        if image.width < 1 or image.height < 1:
            raise MalformedDataError(f"image {image.id} is {image.width}x{image.height}", place=place)
        if image.file_name.startswith("/") or ".." in image.file_name.split("/"):
            raise MalformedDataError(
                f"image {image.id} has file_name {image.file_name!r}",
                place=place,
                hint="write it relative to the folder of the annotations, or to data.images",
            )
        images[image.id] = image
    if not images:
        raise InsufficientDataError("names no image", place=place, hint="add images, or leave the file out")
    return images


def _boxes_by_image(
    coco: _Coco, images: Mapping[int, _Image], labels: Mapping[int, int], place: str
) -> tuple[dict[int, list[Box]], tuple[int, int]]:
    """Boxes by the id of their image, and how many crowds and ignored boxes were passed over."""
    found: dict[int, list[Box]] = {}
    ids: set[int] = set()
    crowds = ignored = 0
    for one in coco.annotations:
        if one.id in ids:
            raise MalformedDataError(f"two annotations have the id {one.id}", place=place)
        ids.add(one.id)
        image = images.get(one.image_id)
        if image is None:
            raise MismatchedDataError(
                f"annotation {one.id} is of image {one.image_id}, which is none", place=place
            )
        if one.category_id not in labels:
            raise MismatchedDataError(
                f"annotation {one.id} is of category {one.category_id}, which is none", place=place
            )
        if one.iscrowd:
            crowds += 1
        elif labels[one.category_id] < 0:
            ignored += 1
        else:
            box = _box(one, image, labels[one.category_id], place)
            found.setdefault(one.image_id, []).append(box)
    return found, (crowds, ignored)


def _box(one: _Annotation, image: _Image, label: int, place: str) -> Box:
    """In shares of the image, cut off at its edge. Raises MalformedDataError for what is no box of it."""
    x, y, width, height = one.bbox
    if not all(map(math.isfinite, one.bbox)) or width < MIN_SIDE or height < MIN_SIDE:
        raise MalformedDataError(
            f"annotation {one.id}: bbox {list(one.bbox)} has no area",
            place=place,
            hint="write [left, top, width, height] in pixels, or leave the annotation out",
        )
    right, bottom = x + width, y + height
    over = max(-x, -y, right - image.width, bottom - image.height)
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(right, image.width), min(bottom, image.height)
    if over > EDGE_TOLERANCE or right - left < MIN_SIDE or bottom - top < MIN_SIDE:
        raise MalformedDataError(
            f"annotation {one.id}: bbox {list(one.bbox)} reaches over the edge of image {image.id}, "
            f"{image.width}x{image.height}",
            place=place,
            hint=f"up to {EDGE_TOLERANCE:g} pixel is cut off: write [left, top, width, height] in pixels",
        )
    across, down = image.width, image.height
    return Box(label, left / across, top / down, (right - left) / across, (bottom - top) / down)


def _refuse_too_many(boxes: Sequence[Box], image: _Image, data: Data, place: str) -> None:
    most = data.max_boxes or DEFAULT_MAX_BOXES
    if len(boxes) > most:
        raise MismatchedDataError(
            f"image {image.id}, {image.file_name}, has {len(boxes)} boxes, more than {most}",
            place=place,
            hint=f"write max_boxes = {len(boxes)} in [data]",
        )


def _refuse_absent_labels(examples: Sequence[FileExample], labels: Sequence[str], place: str) -> None:
    found = {box.label for one in examples if one.objects and not one.is_test for box in one.objects.boxes}
    absent = [label for number, label in enumerate(labels) if number not in found]
    if absent:
        raise InsufficientDataError(
            f"no box of {', '.join(absent)}",
            place=place,
            hint="add annotations, or take the label out of data.labels",
        )

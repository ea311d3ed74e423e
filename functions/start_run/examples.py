"""Which examples there are, where each is a file of its own, and what is known of each: label, mask or boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from functions.start_run.archived import matching
from functions.start_run.coco import annotated_files, annotation_files, read_annotations
from functions.start_run.manifests import read_manifest
from functions.start_run.masks import pair_masks
from lehr.contracts.data_tables import Data
from lehr.contracts.file_units import FileExample, StoredFile
from lehr.contracts.recipe import Recipe
from lehr.errors import InsufficientDataError, MismatchedDataError, MissingDataError
from lehr.file_formats import unpacked_name
from lehr.layout import READY, incoming_prefix
from lehr.ports import ObjectStore, StoredObject


@dataclass(frozen=True)
class Listed:
    """`has_test`: whether some of the examples are named as the test's; `note` is what to tell of them."""

    examples: list[FileExample]
    has_test: bool
    note: str = ""


def example_files(data: Data, names: Sequence[str]) -> list[str]:
    """The names that a recipe means, in order; any may be one that a manifest lists."""
    if data.manifest is not None:
        return sorted(names)
    if data.format == "coco":
        return annotated_files(data, names)
    return matching((*data.files, *data.test_files, *data.masks), names)


def describing_files(data: Data) -> list[str]:
    """The names of those that are no examples and say what the examples are."""
    if data.format == "coco":
        return annotation_files(data)
    return [data.manifest] if data.manifest is not None else []


def list_examples(recipe: Recipe, raw: dict[str, StoredObject], data: ObjectStore) -> Listed:
    """Whatever the format. Raises DataError's children."""
    said, place = recipe.data, data.uri(incoming_prefix(recipe.project.name))
    match said.format:
        case "manifest":
            listed = _of_manifest(said, raw, data, recipe.project.name)
        case "masks":
            return _of_masks(said, raw, place)
        case "coco":
            found = read_annotations(recipe, raw, data)
            return Listed(found.examples, found.has_test, found.note)
        case _:
            listed = _of_folders(said, raw, data, place)
    _refuse_absent_labels(listed.examples, said.labels, place)
    return listed


def _of_folders(said: Data, raw: dict[str, StoredObject], data: ObjectStore, place: str) -> Listed:
    images, test = _named(said, raw, place)
    examples = [
        FileExample(
            file=_stored(raw[name]),
            label=_label(name, said.labels, data.uri(raw[name].key)),
            is_test=name in test,
        )
        for name in images
    ]
    return Listed(examples, bool(test))


def _of_masks(said: Data, raw: dict[str, StoredObject], place: str) -> Listed:
    images, test = _named(said, raw, place)
    masks = pair_masks(images, matching(said.masks, list(raw)), place)
    examples = [
        FileExample(file=_stored(raw[name]), mask=_stored(raw[masks[name]]), is_test=name in test)
        for name in images
    ]
    return Listed(examples, bool(test))


def _of_manifest(said: Data, raw: dict[str, StoredObject], data: ObjectStore, project: str) -> Listed:
    examples = [
        FileExample(file=_stored(raw[one.name]), label=one.label, is_test=bool(one.is_test))
        for one in read_manifest(said, raw, data, project)
    ]
    return Listed(examples, any(one.is_test for one in examples))


def _named(said: Data, raw: dict[str, StoredObject], place: str) -> tuple[list[str], set[str]]:
    """The files of `files` and `test_files`, and those of the latter. Raises MissingDataError."""
    names = list(raw)
    patterns = (*said.files, *said.test_files, *said.masks)
    absent = [pattern for pattern in patterns if not matching([pattern], names)]
    if absent:
        raise MissingDataError(
            f"{', '.join(absent)} not found", place=place, hint=f"upload what data.files names, then {READY}"
        )
    test = set(matching(said.test_files, names))
    both = sorted(test & set(matching(said.files, names)))
    if both:
        raise MissingDataError(
            f"{both[0]} is named by data.files and by data.test_files",
            place=place,
            hint="no example may be learnt from and tested on: let one of them not match it",
        )
    return matching((*said.files, *said.test_files), names), test


def _stored(found: StoredObject) -> StoredFile:
    return StoredFile(key=found.key, etag=found.etag, bytes=found.bytes)


def _label(name: str, labels: Sequence[str], place: str) -> int:
    """The place in `labels` of the folder that a file is in."""
    folder = unpacked_name(name).rpartition("/")[0].rpartition("/")[2]
    if folder not in labels:
        raise MismatchedDataError(
            f"its folder {folder!r} is none of data.labels" if folder else "lies in no folder of a label",
            place=place,
            hint=f"put it into a folder of its label ({', '.join(labels[:5])}{', …' if len(labels) > 5 else ''}), "
            "name the label in data.labels, or let data.files not match it",
        )
    return labels.index(folder)


def _refuse_absent_labels(examples: Sequence[FileExample], labels: Sequence[str], place: str) -> None:
    counts = Counter(example.label for example in examples if not example.is_test)
    absent = [label for number, label in enumerate(labels) if not counts[number]]
    if absent:
        raise InsufficientDataError(
            f"no file of {', '.join(absent)}",
            place=place,
            hint="add files, or take the label out of data.labels",
        )

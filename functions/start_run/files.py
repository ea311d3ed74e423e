"""Planning of examples that are files of their own: which there are, what label each has, and their units of work."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import ceil, prod

from functions.start_run.coco import annotated_files, read_annotations
from lehr import layout
from lehr.contracts.data_rules import (
    DEFAULT_MAX_BOXES,
    DEFAULT_MAX_REFUSED_FRACTION,
    DEFAULT_TEST_FRACTION,
)
from lehr.contracts.file_units import (
    FileExample,
    FileInput,
    FileList,
    ImageInput,
    PrepareFilesUnit,
    StoredFile,
)
from lehr.contracts.recipe import Recipe
from lehr.contracts.recipe_tables import Data
from lehr.errors import InsufficientDataError, MismatchedDataError, MissingDataError
from lehr.layout import READY, incoming_prefix
from lehr.ports import ObjectStore, StoredObject

# Small objects come at a few hundred a second to a function that asks for many at once.
FILES_PER_UNIT = 5_000
# Decoded, of the 2 GB that the function has: once as rows, once as the bytes of a shard, and the files themselves.
MAX_UNIT_BYTES = 256 << 20
DEFAULT_CHANNELS = 3


@dataclass(frozen=True)
class FilePlan:
    """Units of work, and the list of each by its key in the artifact bucket."""

    units: list[PrepareFilesUnit]
    lists: dict[str, FileList]
    note: str = ""

    @property
    def summary(self) -> str:
        return f"{sum(unit.count for unit in self.units)} files in {len(self.units)} units{self.note}"


def example_files(data: Data, names: Sequence[str]) -> list[str]:
    """The names that `files` and `test_files` mean, or files of annotations and what lies with them, in order."""
    if data.format == "coco":
        return annotated_files(data, names)
    return sorted({*matching(data.files, names), *matching(data.test_files, names)})


def plan_files(recipe: Recipe, raw: dict[str, StoredObject], data: ObjectStore, run: str) -> FilePlan:
    """Label every file, draw their order, and cut it into units. Raises DataError's children."""
    said = recipe.data
    if said.format == "coco":
        found = read_annotations(recipe, raw, data)
        return _cut_into_units(recipe, found.examples, data, run, has_test=found.has_test, note=found.note)
    project = recipe.project.name
    place = data.uri(incoming_prefix(project))
    names = list(raw)
    absent = [pattern for pattern in (*said.files, *said.test_files) if not matching([pattern], names)]
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
    examples = [
        FileExample(
            file=StoredFile(key=raw[name].key, etag=raw[name].etag, bytes=raw[name].bytes),
            label=_label(name, said.labels, data.uri(raw[name].key)),
            is_test=name in test,
        )
        for name in example_files(said, names)
    ]
    _refuse_absent_labels(examples, said.labels, place)
    return _cut_into_units(recipe, examples, data, run, has_test=bool(test))


def _cut_into_units(
    recipe: Recipe,
    examples: list[FileExample],
    data: ObjectStore,
    run: str,
    *,
    has_test: bool,
    note: str = "",
) -> FilePlan:
    project, said = recipe.project.name, recipe.data
    examples.sort(key=lambda example: _draw(said.seed, example.file.key))
    lists, units = {}, []
    file_input = input_of(said)
    cut = list(_cut(examples, min(said.rows_per_shard, FILES_PER_UNIT), file_input))
    for index, part in enumerate(cut):
        key = layout.file_list_key(project, run, index)
        lists[key] = FileList(examples=part)
        units.append(
            PrepareFilesUnit(
                project=project,
                run=run,
                index=index,
                of=len(cut),
                bucket=data.bucket,
                list_key=key,
                count=len(part),
                task=recipe.project.task,
                input=file_input,
                classes=len(said.labels),
                max_boxes=(said.max_boxes or DEFAULT_MAX_BOXES) if said.format == "coco" else None,
                validation_fraction=said.validation_fraction,
                test_fraction=0.0 if has_test else _or(said.test_fraction, DEFAULT_TEST_FRACTION),
                max_refused_fraction=_or(said.max_refused_fraction, DEFAULT_MAX_REFUSED_FRACTION),
            )
        )
    return FilePlan(units, lists, note)


def input_of(data: Data) -> FileInput:
    """What the files of a format are decoded to."""
    assert data.image_size is not None  # data_rules
    channels = DEFAULT_CHANNELS if data.channels is None else data.channels
    return ImageInput(shape=[*data.image_size] if channels == 1 else [*data.image_size, channels])


def matching(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def _label(name: str, labels: Sequence[str], place: str) -> int:
    """The place in `labels` of the folder that a file is in."""
    folder = name.rpartition("/")[0].rpartition("/")[2]
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


def _draw(seed: int, key: str) -> bytes:
    """What orders the examples: a drawing of its own for each, so that none moves past another when data is added."""
    return hashlib.blake2b(f"{seed} {key}".encode(), digest_size=16).digest()


def _cut(examples: Sequence[FileExample], most: int, file_input: FileInput) -> Iterator[list[FileExample]]:
    """Units of one size, as many files as fit."""
    size = max(1, min(most, MAX_UNIT_BYTES // prod(file_input.shape)))
    units = ceil(len(examples) / size)
    size = ceil(len(examples) / units)
    for first in range(0, len(examples), size):
        yield list(examples[first : first + size])


def _or(value: float | None, default: float) -> float:
    return default if value is None else value

"""Planning of examples that are files of their own: their order, and their units of work."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, prod

from functions.start_run.examples import list_examples
from lehr import layout
from lehr.contracts.data_rules import (
    DEFAULT_CHANNELS,
    DEFAULT_MAX_BOXES,
    DEFAULT_MAX_REFUSED_FRACTION,
    DEFAULT_TEST_FRACTION,
)
from lehr.contracts.data_tables import Data
from lehr.contracts.file_units import (
    AudioInput,
    FileExample,
    FileInput,
    FileList,
    ImageInput,
    PrepareFilesUnit,
)
from lehr.contracts.recipe import Recipe
from lehr.file_formats import is_archive_name
from lehr.ports import ObjectStore, StoredObject

# Small objects come at a few hundred a second to a function that asks for many at once.
FILES_PER_UNIT = 5_000
# Decoded, of the 2 GB that the function has: once as rows, once as the bytes of a shard, and the files themselves.
MAX_UNIT_BYTES = 256 << 20


@dataclass(frozen=True)
class FilePlan:
    """Units of work, and the list of each by its key in the artifact bucket."""

    units: list[PrepareFilesUnit]
    lists: dict[str, FileList]
    note: str = ""

    @property
    def summary(self) -> str:
        return f"{sum(unit.count for unit in self.units)} files in {len(self.units)} units{self.note}"


def plan_files(recipe: Recipe, raw: dict[str, StoredObject], data: ObjectStore, run: str) -> FilePlan:
    """Find every example, draw their order, and cut it into units. Raises DataError's children."""
    project, said = recipe.project.name, recipe.data
    listed = list_examples(recipe, raw, data)
    examples = sorted(listed.examples, key=lambda example: _draw(said.seed, example.file.key))
    lists, units = {}, []
    file_input = input_of(said)
    archives = [[one] for one in examples if is_archive_name(one.file.key)]
    plain = [one for one in examples if not is_archive_name(one.file.key)]
    cut = [*archives, *_cut(plain, min(said.rows_per_shard, FILES_PER_UNIT), file_input)]
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
                ignore_value=said.ignore_value,
                max_boxes=(said.max_boxes or DEFAULT_MAX_BOXES) if said.format == "coco" else None,
                archive_labels=said.labels if index < len(archives) else [],
                validation_fraction=said.validation_fraction,
                test_fraction=0.0 if listed.has_test else _or(said.test_fraction, DEFAULT_TEST_FRACTION),
                max_refused_fraction=_or(said.max_refused_fraction, DEFAULT_MAX_REFUSED_FRACTION),
            )
        )
    return FilePlan(units, lists, listed.note)


def input_of(data: Data) -> FileInput:
    """What the files of a format are decoded to."""
    if data.sample_rate is not None and data.seconds is not None:
        return AudioInput(
            sample_rate=data.sample_rate, samples=max(1, round(data.sample_rate * data.seconds))
        )
    assert data.image_size is not None  # data_rules
    channels = DEFAULT_CHANNELS if data.channels is None else data.channels
    return ImageInput(shape=[*data.image_size] if channels == 1 else [*data.image_size, channels])


def _draw(seed: int, key: str) -> bytes:
    """What orders the examples: a drawing of its own for each, so that none moves past another when data is added."""
    return hashlib.blake2b(f"{seed} {key}".encode(), digest_size=16).digest()


def _cut(examples: Sequence[FileExample], most: int, file_input: FileInput) -> Iterator[list[FileExample]]:
    """Units of one size, as many files as fit, with their masks."""
    row_bytes = prod(file_input.shape) * (2 if isinstance(file_input, AudioInput) else 1)
    if not examples:
        return
    if examples[0].mask:
        row_bytes += prod(file_input.shape[:2])
    size = max(1, min(most, MAX_UNIT_BYTES // row_bytes))
    units = ceil(len(examples) / size)
    size = ceil(len(examples) / units)
    for first in range(0, len(examples), size):
        yield list(examples[first : first + size])


def _or(value: float | None, default: float) -> float:
    return default if value is None else value

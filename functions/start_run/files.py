"""Planning of examples that are files of their own: their order, and their units of work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from functions.start_run.archived import with_members
from functions.start_run.examples import describing_files, list_examples
from functions.start_run.file_cuts import cut_files
from functions.start_run.pins import pin
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
    FileVersions,
    ImageInput,
    PrepareFilesUnit,
)
from lehr.contracts.recipe import Recipe
from lehr.file_formats import split_member
from lehr.ports import ObjectStore, StoredObject

# Small objects come at a few hundred a second to a function that asks for many at once.
FILES_PER_UNIT = 5_000
# Decoded, of the 2 GB that the function has: once as rows, once as the bytes of a shard, and the files themselves.
MAX_UNIT_BYTES = 256 << 20


@dataclass(frozen=True)
class FilePlan:
    """Units of work; the list of each by its key in the artifact bucket, and the versions of its files by theirs."""

    units: list[PrepareFilesUnit]
    lists: dict[str, FileList]
    versions: dict[str, FileVersions]
    note: str = ""

    @property
    def summary(self) -> str:
        return f"{sum(unit.count for unit in self.units)} files in {len(self.units)} units{self.note}"


def plan_files(recipe: Recipe, raw: dict[str, StoredObject], data: ObjectStore, run: str) -> FilePlan:
    """Find every example, draw their order, and cut it into units. Raises DataError's children."""
    project, said = recipe.project.name, recipe.data
    raw, store = with_members(said, raw, data)
    listed = list_examples(recipe, raw, store)
    lists, pins, units = {}, {}, []
    versions = {entry.key: entry.version for entry in raw.values()}
    file_input = input_of(said)
    described_by = [pin(raw[name], data) for name in describing_files(said)]
    most = _most(listed.examples, said, file_input)
    cut = [part for group in _by_archive(listed.examples) for part in cut_files(group, most, said.seed)]
    for index, part in enumerate(cut):
        key = layout.file_list_key(project, run, index)
        lists[key] = FileList(examples=part)
        pinned = _versions(part, versions)
        versions_key = (
            layout.file_versions_key(project, run, index) if any((*pinned.files, *pinned.masks)) else ""
        )
        if versions_key:
            pins[versions_key] = pinned
        units.append(
            PrepareFilesUnit(
                project=project,
                run=run,
                index=index,
                of=len(cut),
                bucket=data.bucket,
                list_key=key,
                versions_key=versions_key,
                count=len(part),
                task=recipe.project.task,
                input=file_input,
                classes=len(said.labels),
                ignore_value=said.ignore_value,
                max_boxes=(said.max_boxes or DEFAULT_MAX_BOXES) if said.format == "coco" else None,
                validation_fraction=said.validation_fraction,
                test_fraction=0.0 if listed.has_test else _or(said.test_fraction, DEFAULT_TEST_FRACTION),
                max_refused_fraction=_or(said.max_refused_fraction, DEFAULT_MAX_REFUSED_FRACTION),
                described_by=described_by,
            )
        )
    return FilePlan(units, lists, pins, listed.note)


def _versions(examples: Sequence[FileExample], versions: Mapping[str, str]) -> FileVersions:
    return FileVersions(
        files=[versions[one.file.key] for one in examples],
        masks=[versions[one.mask.key] for one in examples if one.mask],
    )


def input_of(data: Data) -> FileInput:
    """What the files of a format are decoded to."""
    if data.sample_rate is not None and data.seconds is not None:
        return AudioInput(
            sample_rate=data.sample_rate, samples=max(1, round(data.sample_rate * data.seconds))
        )
    assert data.image_size is not None  # data_rules
    channels = DEFAULT_CHANNELS if data.channels is None else data.channels
    return ImageInput(shape=[*data.image_size] if channels == 1 else [*data.image_size, channels])


def _by_archive(examples: Sequence[FileExample]) -> Iterator[list[FileExample]]:
    """Those that lie in one archive together, so that a unit fetches one, and those that lie in none."""
    groups: dict[str, list[FileExample]] = {}
    for example in examples:
        groups.setdefault((split_member(example.file.key) or ("",))[0], []).append(example)
    return (groups[archive] for archive in sorted(groups))


def _most(examples: Sequence[FileExample], said: Data, file_input: FileInput) -> int:
    """How many files a unit may have, with their masks."""
    row_bytes = prod(file_input.shape) * (2 if isinstance(file_input, AudioInput) else 1)
    if examples and examples[0].mask:
        row_bytes += prod(file_input.shape[:2])
    wanted = said.rows_per_shard or FILES_PER_UNIT
    return max(1, min(wanted, FILES_PER_UNIT, MAX_UNIT_BYTES // row_bytes))


def _or(value: float | None, default: float) -> float:
    return default if value is None else value

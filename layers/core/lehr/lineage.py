"""From raw files to the models that learned from them, and back.

A manifest names the raw files of a dataset version, a model's lineage its dataset version and the model that it started
from. Nothing else is kept, so that nothing can contradict them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from lehr import layout
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.file_units import FileExample, FileList, StoredFile
from lehr.contracts.package import LINEAGE_FILE, Lineage
from lehr.contracts.registry import DatasetRecord, ModelRecord
from lehr.errors import ContractError
from lehr.file_formats import split_member
from lehr.ports import ModelRegistry, ObjectStore


class RawFile(NamedTuple):
    """An object under incoming/, and the bytes that it had: they have the ETag."""

    key: str
    etag: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class ProjectLineage:
    """Of one project, by version and newest first: datasets with the raw files that each was made of, and models.

    `initial` has the model that a model started from, where there was one; `champion` is empty without one.
    """

    datasets: Mapping[str, DatasetRecord]
    raw: Mapping[str, Sequence[RawFile]]
    models: Mapping[str, ModelRecord]
    initial: Mapping[str, str]
    champion: str

    def datasets_of(self, files: Iterable[RawFile]) -> list[str]:
        """The dataset versions that were made of one of `files`: of these bytes, not of others under the same key."""
        wanted = {(file.key, file.etag) for file in files}
        return [
            version
            for version, raw in self.raw.items()
            if any((file.key, file.etag) in wanted for file in raw)
        ]

    def models_of(self, datasets: Iterable[str]) -> list[str]:
        """The models that were trained on one of these dataset versions, or started from such a model."""
        wanted, found = set(datasets), set[str]()
        # Each round finds the models that started from those of the round before.
        while True:
            more = {
                version
                for version, model in self.models.items()
                if version not in found
                and (model.dataset_version in wanted or self.initial.get(version) in found)
            }
            if not more:
                return [version for version in self.models if version in found]
            found |= more

    def ancestors(self, model: str) -> list[str]:
        """The models that it started from, one after the other."""
        found: list[str] = []
        while (model := self.initial.get(model, "")) and model not in found:
            found.append(model)
        return found

    def files(self, key: str) -> list[RawFile]:
        """The bytes that a key has had in any of the versions."""
        return list(dict.fromkeys(file for raw in self.raw.values() for file in raw if file.key == key))


def read_lineage(project: str, artifacts: ObjectStore, registry: ModelRegistry) -> ProjectLineage:
    """Everything that is known of a project. What was deleted is left out."""
    datasets = {record.version: record for record in registry.datasets(project)}
    lists: dict[str, list[RawFile]] = {}
    raw = {}
    for version in datasets:
        try:
            body = artifacts.get(layout.dataset_manifest_key(project, version))
        except KeyError:
            continue
        raw[version] = _objects(_raw_of(DatasetManifest.from_json(body), project, artifacts, lists))
    models, initial = {}, {}
    for record in registry.models(project):
        try:
            body = artifacts.get(layout.model_file_key(project, record.version, LINEAGE_FILE))
        except KeyError:
            continue
        models[record.version] = record
        if started_from := Lineage.from_json(body).initial_version:
            initial[record.version] = started_from
    alias = registry.alias(project)
    return ProjectLineage(
        datasets={version: datasets[version] for version in raw},
        raw=raw,
        models=models,
        initial=initial,
        champion=alias.champion if alias else "",
    )


def _raw_of(
    manifest: DatasetManifest, project: str, artifacts: ObjectStore, lists: dict[str, list[RawFile]]
) -> Iterator[RawFile]:
    """Versions share their lists of files too, so each is read once."""
    for ref in manifest.raw:
        yield RawFile(ref.key, ref.etag, ref.bytes)
    for listed in manifest.raw_lists or ():
        if listed.key not in lists:
            raw = artifacts.get(layout.datasets_prefix(project) + listed.key)
            lists[listed.key] = list(_files_of(FileList.from_json(raw).examples))
        yield from lists[listed.key]


def _files_of(examples: Iterable[FileExample]) -> Iterator[RawFile]:
    for example in examples:
        for file in (example.file, example.mask):
            if isinstance(file, StoredFile):
                yield RawFile(file.key, file.etag, file.bytes)


def _objects(files: Iterable[RawFile]) -> list[RawFile]:
    """The objects that files are or, as those of archives, lie in; of an archive the bytes of what was read of it."""
    sizes: dict[tuple[str, str], int] = {}
    for file in dict.fromkeys(files):
        named = split_member(file.key)
        found = (named[0] if named else file.key, file.etag)
        sizes[found] = sizes.get(found, 0) + file.bytes
    return [RawFile(key, etag, size) for (key, etag), size in sizes.items()]


def files_of_run(project: str, run: str, artifacts: ObjectStore) -> list[RawFile] | None:
    """What a run's plan says that it reads, sealed or not; None where the plan, or a list of it, is gone."""
    try:
        plan = msgspec.json.decode(artifacts.get(layout.plan_key(project, run)))
        found = list(_pinned(plan))
        for key in _lists(plan):
            found += _files_of(FileList.from_json(artifacts.get(key)).examples)
    except (KeyError, ContractError, msgspec.DecodeError):
        return None
    return _objects(found)


def _pinned(value: Any) -> Iterator[RawFile]:
    """Every reference to a raw object, wherever it stands in a unit of whatever kind."""
    if isinstance(value, list):
        for one in value:
            yield from _pinned(one)
    elif isinstance(value, dict):
        if {"key", "etag", "bytes"} <= value.keys():
            yield RawFile(value["key"], value["etag"], value["bytes"])
        for one in value.values():
            yield from _pinned(one)


def _lists(plan: Any) -> Iterator[str]:
    for unit in plan if isinstance(plan, list) else ():
        if isinstance(unit, dict) and isinstance(unit.get("list_key"), str):
            yield unit["list_key"]

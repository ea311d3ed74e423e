"""A dataset of files in one process: planned, prepared and sealed as a run does it, and every row that was sealed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from functions.prepare_shard.files import prepare_files
from functions.seal_dataset.seal import seal
from functions.start_run.files import FilePlan, plan_files
from functions.start_run.plan import list_raw
from lehr import layout
from lehr.contracts.dataset import DatasetManifest, Split, UnitResult
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.workflow import SealedDataset, SealRequest
from lehr_runtime.shards import read_shard
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

RUN = "run-1"


class Row(NamedTuple):
    split: Split
    x: np.ndarray
    y: np.ndarray


class FilesWorld:
    def __init__(self, objects: Mapping[str, bytes], recipe: str, *, is_versioned: bool = False) -> None:
        self.data = InMemoryObjectStore("data", dict(objects), is_versioned=is_versioned)
        self.artifacts = InMemoryObjectStore("artifacts")
        self.recipe = parse_recipe(recipe)
        self.project = self.recipe.project.name

    def plan(self) -> FilePlan:
        plan = plan_files(self.recipe, list_raw(self.data, self.project), self.data, RUN)
        for key, document in (*plan.lists.items(), *plan.versions.items()):
            self.artifacts.put(key, document.to_json())
        self.artifacts.put(layout.plan_key(self.project, RUN), msgspec.json.encode(plan.units))
        self.artifacts.put(layout.recipe_key(self.project, RUN), self.recipe.to_json())
        return plan

    def prepare(self) -> list[UnitResult]:
        return [prepare_files(unit, self.data, self.artifacts) for unit in self.plan().units]

    def seal(self) -> tuple[SealedDataset, DatasetManifest]:
        """Of what was prepared."""
        sealed = seal(SealRequest(project=self.project, run=RUN), self.artifacts, InMemoryRegistry())
        raw = self.artifacts.objects[layout.dataset_manifest_key(self.project, sealed.version)]
        return sealed, DatasetManifest.from_json(raw)

    def sealed_rows(self, version: str, manifest: DatasetManifest) -> Iterator[Row]:
        """All that was sealed, shard after shard."""
        prefix = layout.datasets_prefix(self.project)
        for shard in manifest.shards:
            tensors = read_shard(self.artifacts.objects[prefix + shard.key])
            yield from (Row(shard.split, x, y) for x, y in zip(tensors["x"], tensors["y"], strict=True))

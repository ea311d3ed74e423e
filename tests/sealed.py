"""A dataset from its files to its checks in one process: planned, prepared and sealed as a run does it."""

from __future__ import annotations

import json
import struct

import msgspec
import numpy as np

from functions.prepare_shard.prepare import prepare as prepare_images
from functions.prepare_shard.tables import prepare_table
from functions.seal_dataset.seal import seal
from functions.start_run.plan import list_raw, plan_units
from functions.start_run.tables import plan_table
from lehr import layout
from lehr.contracts.data_checks import CheckResult, DataChecks
from lehr.contracts.data_rules import is_table
from lehr.contracts.dataset import DatasetManifest, Split
from lehr.contracts.profile import DatasetSamples, DatasetStatistics
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.workflow import SealRequest
from lehr_runtime.shards import read_shard
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

IMAGES = """
[project]
name = "shapes"
task = "image_classification"
[data]
format = "idx"
train = { images = "x", labels = "y" }
test = { images = "tx", labels = "ty" }
labels = ["a", "b", "c"]
rows_per_shard = 100
validation_fraction = 0.2
"""
TABLE = """
[project]
name = "fares"
task = "tabular_classification"
[data]
format = "csv"
files = ["part-*.csv"]
test_files = ["test.csv"]
target = "class"
labels = ["cheap", "dear"]
validation_fraction = 0.2
rows_per_shard = 100
"""
RUN = "run-1"


class Sealed:
    """A sealed dataset, or the error that refused it; `checks` in either case."""

    def __init__(
        self,
        recipe_text: str,
        files: dict[str, bytes],
        registry: InMemoryRegistry | None = None,
        pii_key: str = "",
    ) -> None:
        recipe = parse_recipe(recipe_text)
        project = recipe.project.name
        prefix = layout.incoming_prefix(project)
        data = InMemoryObjectStore("data", {prefix + name: raw for name, raw in files.items()})
        self.artifacts = InMemoryObjectStore("artifacts")
        self.registry = registry or InMemoryRegistry()
        self.project, self.error = project, ""
        raw = list_raw(data, project)
        if is_table(recipe.project.task):
            tables, _ = plan_table(recipe, raw, data, RUN)
            plan = msgspec.json.encode(tables)
            for table in tables:
                prepare_table(table, data, self.artifacts, pii_key)
        else:
            units = plan_units(recipe, raw, data, RUN)
            plan = msgspec.json.encode(units)
            for unit in units:
                prepare_images(unit, data, self.artifacts)
        self.artifacts.put(layout.plan_key(project, RUN), plan)
        self.artifacts.put(layout.recipe_key(project, RUN), recipe.to_json())

    def seal(self) -> Sealed:
        self.version = seal(SealRequest(project=self.project, run=RUN), self.artifacts, self.registry).version
        return self

    def document(self, key: str) -> bytes:
        return self.artifacts.objects[key]

    @property
    def manifest(self) -> DatasetManifest:
        return DatasetManifest.from_json(
            self.document(layout.dataset_manifest_key(self.project, self.version))
        )

    @property
    def statistics(self) -> DatasetStatistics:
        return DatasetStatistics.from_json(
            self.document(layout.dataset_statistics_key(self.project, self.version))
        )

    @property
    def samples(self) -> DatasetSamples:
        return DatasetSamples.from_json(self.document(layout.dataset_samples_key(self.project, self.version)))

    @property
    def checks(self) -> DataChecks:
        return DataChecks.from_json(self.document(layout.data_checks_key(self.project, RUN)))

    def check(self, name: str) -> CheckResult:
        return next(one for one in self.checks.results if one.check == name)

    def quarantined(self) -> list[dict[str, object]]:
        raw = self.artifacts.objects.get(layout.set_aside_key(self.project, RUN), b"")
        return [json.loads(line) for line in raw.splitlines()]

    def images(self, split: Split) -> np.ndarray:
        prefix = layout.datasets_prefix(self.project)
        shards = [one for one in self.manifest.shards if one.split == split]
        return np.concatenate([read_shard(self.document(prefix + one.key))["x"] for one in shards])


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def images(rows: int = 300, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "x": random.integers(0, 256, (rows, 4, 5), dtype=np.uint8),
        "y": random.integers(0, 3, rows, dtype=np.uint8),
        "tx": random.integers(0, 256, (120, 4, 5), dtype=np.uint8),
        "ty": random.integers(0, 3, 120, dtype=np.uint8),
    }


def of_images(arrays: dict[str, np.ndarray], more: str = "") -> Sealed:
    return Sealed(IMAGES + more, {name: idx(array) for name, array in arrays.items()}).seal()


def table(rows: int, seed: int, header: str = "km,seats,carrier,class\n") -> list[str]:
    random = np.random.default_rng(seed)
    return [
        header,
        *(
            f"{random.normal(500, 90):.3f},{random.integers(100, 180)},{'ABC'[int(random.integers(3))]},"
            f"{'cheap' if random.random() < 0.7 else 'dear'}\n"
            for _ in range(rows)
        ),
    ]


def of_table(train: list[str], test: list[str], more: str = "") -> Sealed:
    files = {"part-1.csv": "".join(train).encode(), "test.csv": "".join(test).encode()}
    return Sealed(TABLE + more, files).seal()

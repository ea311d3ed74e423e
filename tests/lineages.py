"""A project whose versions, models and runs lie where the functions write them, without their running."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lehr import layout
from lehr.contracts.dataset import DatasetManifest, ObjectRef, RawList, Shard
from lehr.contracts.file_units import FileExample, FileList, StoredFile
from lehr.contracts.package import LINEAGE_FILE, Lineage
from lehr.contracts.registry import Alias, DatasetRecord, ModelRecord
from lehr.lineage import RawFile
from tests.fakes import NOW, InMemoryObjectStore, InMemoryRegistry

PROJECT = "clinic"


def raw(name: str, etag: str = "1") -> RawFile:
    return RawFile(f"incoming/{PROJECT}/{name}", etag, 10)


class World:
    """A project whose versions, models and runs are written as the functions write them."""

    def __init__(self) -> None:
        self.artifacts = InMemoryObjectStore("artifacts")
        self.registry = InMemoryRegistry()

    def dataset(
        self, version: str, files: Sequence[RawFile], shards: Sequence[str], *, listed: bool = False
    ) -> None:
        refs = [ObjectRef(bucket="data", key=file.key, etag=file.etag, bytes=file.bytes) for file in files]
        manifest = DatasetManifest(
            project=PROJECT,
            format="csv",
            input_shape=[1],
            input_dtype="float32",
            labels=[],
            shards=[
                Shard(split="train", key=f"shards/{name}", rows=1, bytes=1, sha256="0" * 64, class_counts=[])
                for name in shards
            ],
            mean=0.0,
            std=1.0,
            raw=[] if listed else refs,
            seed=1,
            validation_fraction=0.1,
        )
        if listed:
            examples = [
                FileExample(file=StoredFile(key=file.key, etag=file.etag, bytes=file.bytes)) for file in files
            ]
            self.artifacts.put(f"datasets/{PROJECT}/lists/{version}", FileList(examples=examples).to_json())
            lists = [RawList(key=f"lists/{version}", sha256="0" * 64, files=len(files))]
            manifest = msgspec.structs.replace(manifest, raw_lists=lists)
        for name in shards:
            self.artifacts.put(f"datasets/{PROJECT}/shards/{name}", b"x")
        self.artifacts.put(layout.dataset_manifest_key(PROJECT, version), manifest.to_json())
        self.registry.add_dataset(
            DatasetRecord(
                project=PROJECT, version=version, run=f"run-{version}", created_at=NOW, rows={"train": 1}
            )
        )

    def model(self, version: str, dataset: str, initial: str = "") -> None:
        self.registry.add_model(
            ModelRecord(
                project=PROJECT,
                version=version,
                run=f"run-{dataset}",
                dataset_version=dataset,
                created_at=version,
                package_sha256="0" * 64,
            )
        )
        lineage = Lineage(
            project=PROJECT,
            run=f"run-{dataset}",
            trial="0",
            dataset_version=dataset,
            code_sha="c",
            training_job="j",
            image="i",
            initial_version=initial,
            instance_type="t",
            hyperparameters={},
        )
        self.artifacts.put(layout.model_file_key(PROJECT, version, LINEAGE_FILE), lineage.to_json())

    def run(self, name: str, files: Sequence[RawFile]) -> None:
        units = [
            {"index": 0, "file": {"bucket": "data", "key": f.key, "etag": f.etag, "bytes": 1}} for f in files
        ]
        self.artifacts.put(layout.plan_key(PROJECT, name), msgspec.json.encode(units))

    def serve(self, version: str) -> None:
        self.registry.aliases[PROJECT] = Alias(
            project=PROJECT, champion=version, generation=1, owner="r", updated_at=NOW
        )

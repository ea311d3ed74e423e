"""What has to go when raw files are to be forgotten: versions, shards, models and runs that were made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lehr import layout
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.package import LINEAGE_FILE
from lehr.lineage import ProjectLineage, RawFile, files_of_run
from lehr.ports import ObjectStore


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """`files` are keys and the bytes that they had; the rest are names of what was made of them, in the order in which
    it can go: what leads from one to the next goes last, so that an erasure that was cut off can be repeated.

    `shared` are keys of shards and lists that no other version has; `is_serving` says that the champion is among
    `models`. `unknown_runs` have lost the plan that would say what they read.
    """

    project: str
    files: Sequence[RawFile]
    models: Sequence[str]
    runs: Sequence[str]
    unknown_runs: Sequence[str]
    shared: Sequence[str]
    datasets: Sequence[str]
    is_serving: bool

    @property
    def digests(self) -> list[str]:
        """SHA-256 of each key: they prove later that a file was forgotten, and do not name it."""
        return sorted({hashlib.sha256(file.key.encode()).hexdigest() for file in self.files})

    def prefixes(self) -> list[tuple[str, str]]:
        """What the keys of the artifact bucket begin with that go, in their order, and the end of the key that has to
        go last of each: it leads to the others.
        """
        project, runs = self.project, (*self.runs, *self.unknown_runs)
        return [
            *((layout.model_prefix(project, version), LINEAGE_FILE) for version in self.models),
            *((layout.quarantine_prefix(project, run), "") for run in runs),
            *((layout.run_prefix(project, run), layout.PLAN) for run in runs),
            *((key, "") for key in self.shared),
            *((layout.dataset_prefix(project, version), layout.MANIFEST) for version in self.datasets),
        ]


def plan_erasure(
    files: Sequence[RawFile], known: ProjectLineage, project: str, artifacts: ObjectStore
) -> Erasure:
    """Everything that was made of `files`. Reads the manifests of the project and the plans of its runs."""
    datasets = known.datasets_of(files)
    models = known.models_of(datasets)
    wanted = {(file.key, file.etag) for file in files}
    runs, unknown = [], []
    for run in artifacts.folders(layout.runs_prefix(project)):
        read = files_of_run(project, run, artifacts)
        if read is None:
            unknown.append(run)
        elif any((file.key, file.etag) in wanted for file in read):
            runs.append(run)
    gone = set(datasets)
    kept = _content(project, (version for version in known.raw if version not in gone), artifacts)
    return Erasure(
        project=project,
        files=files,
        models=models,
        runs=runs,
        unknown_runs=unknown,
        shared=sorted(_content(project, datasets, artifacts) - kept),
        datasets=datasets,
        is_serving=known.champion in models,
    )


def _content(project: str, versions: Iterable[str], artifacts: ObjectStore) -> set[str]:
    """Keys of the shards and lists that these versions have."""
    prefix = layout.datasets_prefix(project)
    found = set()
    for version in versions:
        manifest = DatasetManifest.from_json(artifacts.get(layout.dataset_manifest_key(project, version)))
        found |= {prefix + part.key for part in (*manifest.shards, *(manifest.raw_lists or ()))}
    return found

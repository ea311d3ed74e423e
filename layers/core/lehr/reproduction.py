"""What is needed to train a model again, by its lineage, and what of it is still there."""

from __future__ import annotations

import hashlib

from lehr import layout
from lehr.contracts.dataset import DatasetManifest, Split
from lehr.contracts.package import WEIGHTS_FILE, Lineage
from lehr.contracts.recipe import RECIPE_FILE
from lehr.ports import ObjectStore


def missing_sources(lineage: Lineage, artifacts: ObjectStore) -> list[str]:
    """What a training after this lineage would lack, each as a phrase; nothing if it could be done again.

    Datasets, code and the trainer never expire, so what is gone was deleted: by `lehr data forget`, or by hand.
    """
    project, missing = lineage.project, _missing_data(lineage, artifacts)
    recipe = layout.project_prefix(project, lineage.code_sha) + RECIPE_FILE
    if not artifacts.exists(recipe):
        missing.append(f"the code {lineage.code_sha[:12]} was deleted ({artifacts.uri(recipe)})")
    if lineage.trainer_version:
        trainer = layout.trainer_file_key(lineage.trainer_version, "SHA256SUMS")
        if not artifacts.exists(trainer):
            missing.append(f"the trainer {lineage.trainer_version} was deleted ({artifacts.uri(trainer)})")
    if lineage.initial_version:
        weights = layout.model_file_key(project, lineage.initial_version, WEIGHTS_FILE)
        if not artifacts.exists(weights):
            missing.append(
                f"the weights that it started from were deleted, of model {lineage.initial_version}"
            )
    return missing


def _missing_data(lineage: Lineage, artifacts: ObjectStore) -> list[str]:
    project, version = lineage.project, lineage.dataset_version
    try:
        raw = artifacts.get(layout.dataset_manifest_key(project, version))
    except KeyError:
        return [f"dataset version {version} was erased"]
    if hashlib.sha256(raw).hexdigest()[: len(version)] != version:
        return [f"the manifest of dataset version {version} is not the one that was sealed"]
    manifest = DatasetManifest.from_json(raw)
    channels: tuple[Split, ...] = ("train", "validation")
    splits = [split for split in channels if manifest.rows(split)]
    missing = [
        f"dataset version {version} has no list of its {split} shards: an earlier release sealed it"
        for split in splits
        if not artifacts.exists(layout.dataset_channel_key(project, version, split))
    ]
    prefix = layout.datasets_prefix(project)
    there = {entry.key for entry in artifacts.list(f"{prefix}shards/")}
    gone = [
        shard.key for shard in manifest.shards if shard.split in splits and prefix + shard.key not in there
    ]
    if gone:
        missing.append(f"{len(gone)} shard(s) of dataset version {version} were deleted, {gone[0]} first")
    return missing

"""What a version is made of, stored once for all versions of the project: under its sha256."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from lehr import layout
from lehr.channel_lists import write_channel_list
from lehr.contracts.dataset import DatasetManifest, Shard, Split
from lehr.ports import ObjectStore

CHANNELS: tuple[Split, ...] = ("train", "validation")
# From the key of a staged object to the one that versions share, relative to the project's datasets.
Moves = list[tuple[str, str]]
# As many connections as boto3 keeps. S3 copies by itself; what is waited for is its answer.
COPIED_AT_ONCE = 10


def address(staged: Sequence[Shard], splits: Sequence[Split]) -> tuple[list[Shard], Moves]:
    """The shards split by split under the keys of their content, and what to copy there."""
    shards: list[Shard] = []
    moves: Moves = []
    for split in splits:
        for shard in (one for one in staged if one.split == split):
            key = layout.shared_shard(shard.sha256)
            moves.append((shard.key, key))
            shards.append(msgspec.structs.replace(shard, key=key))
    return shards, moves


def copy_new(moves: Moves, project: str, artifacts: ObjectStore) -> int:
    """Copy what no version has yet. Returns how many objects that were."""
    prefix = layout.datasets_prefix(project)

    def copy(target: str, source: str) -> bool:
        if artifacts.exists(prefix + target):
            return False
        artifacts.copy(source, prefix + target)
        return True

    sources = {target: source for source, target in moves}
    with ThreadPoolExecutor(COPIED_AT_ONCE) as threads:
        return sum(threads.map(copy, sources.keys(), sources.values()))


def write_channels(manifest: DatasetManifest, version: str, artifacts: ObjectStore) -> None:
    """The list of each split that a training job is given."""
    prefix = layout.datasets_prefix(manifest.project)
    folder = artifacts.uri(prefix + layout.SHARED_SHARDS)
    for split in CHANNELS:
        names = [
            shard.key.removeprefix(layout.SHARED_SHARDS) for shard in manifest.shards if shard.split == split
        ]
        if names:
            key = layout.dataset_channel_key(manifest.project, version, split)
            artifacts.put(key, write_channel_list(folder, names), content_type="application/json")

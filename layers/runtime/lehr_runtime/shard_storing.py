"""One shard in the store, and what a manifest says of it."""

from __future__ import annotations

import hashlib

import numpy as np

from lehr.contracts.dataset import Shard, Split
from lehr.errors import OverwriteError
from lehr.ports import ObjectStore
from lehr_runtime.shards import write_shard
from lehr_runtime.tables import Inputs, Table, as_inputs, to_tensors
from lehr_runtime.targets import count_labels


def put_shard(
    artifacts: ObjectStore, key: str, split: Split, x: Inputs, y: np.ndarray, *, labels: int
) -> Shard:
    """Write rows `x` with their targets `y` under `key`, once; `labels` is 0 where a number is predicted.

    What a retry or a second delivery finds there stays, and is what is described: where samples were computed, another
    processor may have rounded one otherwise.
    """
    inputs = as_inputs(x) if isinstance(x, Table) else x
    raw = write_shard(to_tensors(inputs) | {"y": y})
    try:
        artifacts.put_once(key, raw)
    except OverwriteError:
        raw = artifacts.get(key)
    return Shard(
        split=split,
        key=key,
        rows=len(y),
        bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        class_counts=count_labels(y, labels) if labels else [],
    )

"""A shard is written once: what is delivered twice changes nothing that somebody may have read already."""

from __future__ import annotations

import hashlib

import numpy as np

from lehr_runtime.shard_storing import put_shard
from lehr_runtime.shards import read_shard
from tests.fakes import InMemoryObjectStore


def test_a_second_delivery_writes_nothing_and_describes_what_is_there() -> None:
    store = InMemoryObjectStore("artifacts")
    y = np.zeros(2, np.uint8)
    first = put_shard(store, "key", "train", np.array([[1], [2]], np.int16), y, labels=1)
    assert first == put_shard(store, "key", "train", np.array([[1], [2]], np.int16), y, labels=1)
    # Of another processor, which has rounded a sample otherwise.
    again = put_shard(store, "key", "train", np.array([[1], [3]], np.int16), y, labels=1)
    assert again == first
    assert store.writes == ["key"]
    assert hashlib.sha256(store.objects["key"]).hexdigest() == first.sha256
    assert read_shard(store.objects["key"])["x"].tolist() == [[1], [2]]

"""Raw objects as they are when a run is planned: whatever is written over them or deleted later is the next run's."""

from __future__ import annotations

from msgspec import UNSET

from lehr.contracts.dataset import ObjectRef
from lehr.ports import ObjectStore, StoredObject


def pin(entry: StoredObject, data: ObjectStore) -> ObjectRef:
    """The object as it was listed, for those who read it later."""
    return ObjectRef(
        bucket=data.bucket,
        key=entry.key,
        etag=entry.etag,
        bytes=entry.bytes,
        version=entry.version or UNSET,
    )


def read(entry: StoredObject, data: ObjectStore) -> bytes:
    """All of the object as it was listed. Raises as `ObjectStore.get` does."""
    return data.get(entry.key, etag=entry.etag, version=entry.version)


def read_start(entry: StoredObject, count: int, data: ObjectStore) -> bytes:
    """The first bytes of the object as it was listed. Raises as `ObjectStore.get_range` does."""
    return data.get_range(entry.key, 0, count, etag=entry.etag, version=entry.version)

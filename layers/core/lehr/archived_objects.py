"""A bucket in which files of archives are objects of their own: `data.zip!round/1.png` is one in `data.zip`.

Whoever plans and prepares data reads through it, so that a table, a mask or a list of labels in an archive is read by
the code that reads it elsewhere. An archive is fetched once, by the ETag that it was planned with, when the first of
its files is asked for; the last one stays open.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock

from lehr.archives import Archive
from lehr.errors import MalformedDataError
from lehr.file_formats import member_name, split_member
from lehr.ports import ObjectStore, Sink, StoredObject

# Of what an archive unpacks to: it lies on the functions' disk, which has a GB.
MAX_UNPACKED_BYTES = 512 << 20
_PIECE_BYTES = 8 << 20


class ArchivedObjects:
    """An ObjectStore over another. Raises MalformedDataError for an archive that is damaged, hostile or too large."""

    def __init__(self, store: ObjectStore) -> None:
        self.bucket = store.bucket
        self._store, self._lock = store, Lock()
        self._open: tuple[tuple[str, str | None, str], Archive] | None = None

    def members(self, archive: StoredObject) -> list[StoredObject]:
        """The files of an archive as objects, pinned as it is itself."""
        sizes = self._archive(archive.key, archive.etag, archive.version).sizes
        if not sizes:
            raise MalformedDataError("holds no files", place=self.uri(archive.key))
        return [
            StoredObject(
                key=member_name(archive.key, name), etag=archive.etag, bytes=size, version=archive.version
            )
            for name, size in sizes.items()
        ]

    def get(self, key: str, *, etag: str | None = None, version: str = "") -> bytes:
        named = split_member(key)
        if named is None:
            return self._store.get(key, etag=etag, version=version)
        return self._archive(named[0], etag, version).read(named[1])

    def get_range(
        self, key: str, first: int, count: int, *, etag: str | None = None, version: str = ""
    ) -> bytes:
        named = split_member(key)
        if named is None:
            return self._store.get_range(key, first, count, etag=etag, version=version)
        return self._archive(named[0], etag, version).read_range(named[1], first, count)

    def get_start(self, key: str, count: int) -> bytes:
        return (
            self._store.get_start(key, count) if split_member(key) is None else self.get_range(key, 0, count)
        )

    def _archive(self, key: str, etag: str | None, version: str) -> Archive:
        asked = (key, etag, version)
        with self._lock:
            # Of what was asked for without an ETag it may be that which is open.
            if self._open and (asked == self._open[0] or (etag is None and key == self._open[0][0])):
                return self._open[1]
            self._open = None
            pieces = self._pieces(key, etag, version)
            archive = Archive(pieces, place=self.uri(key), max_bytes=MAX_UNPACKED_BYTES)
            self._open = (asked, archive)
            return archive

    def _pieces(self, key: str, etag: str | None, version: str) -> Iterator[bytes]:
        first = 0
        while True:
            piece = self._store.get_range(key, first, _PIECE_BYTES, etag=etag, version=version)
            yield piece
            first += len(piece)
            if len(piece) < _PIECE_BYTES:
                return

    def get_into(self, key: str, count: int, sink: Sink) -> None:
        self._store.get_into(key, count, sink)

    def put(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None:
        self._store.put(key, body, content_type=content_type)

    def put_once(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> bool:
        return self._store.put_once(key, body, content_type=content_type)

    def copy(self, source: str, target: str) -> None:
        self._store.copy(source, target)

    def exists(self, key: str) -> bool:
        return self._store.exists(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return self._store.list(prefix)

    def list_versions(self, prefix: str) -> Iterator[StoredObject]:
        return self._store.list_versions(prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        return self._store.folders(prefix)

    def uri(self, key: str) -> str:
        return self._store.uri(key)

"""A folder as a bucket: objects are files, and requests are counted as S3 would bill them."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lehr.errors import OverwriteError
from lehr.ports import Sink, StoredObject


class FolderStore:
    """`ObjectStore` over a folder. `requests` counts gets, puts and lists, `read` and `written` bytes; what is written
    is forgotten unless it `keeps` it.

    An object has its size as its ETag: what is written while a benchmark runs is the benchmark's own.
    """

    def __init__(self, root: Path, bucket: str = "bench", *, keeps: bool = True) -> None:
        self.root, self.bucket, self.keeps = root, bucket, keeps
        self.requests: Counter[str] = Counter()
        self.read = self.written = 0
        self._lock = threading.Lock()

    def get(self, key: str, *, etag: str | None = None, version: str = "") -> bytes:
        return self._counted(self._path(key).read_bytes())

    def get_start(self, key: str, count: int) -> bytes:
        return self.get_range(key, 0, count)

    def get_range(
        self, key: str, first: int, count: int, *, etag: str | None = None, version: str = ""
    ) -> bytes:
        with self._path(key).open("rb") as file:
            file.seek(first)
            return self._counted(file.read(count))

    def get_into(self, key: str, count: int, sink: Sink) -> None:
        sink.restart()
        sink.write(self.get_start(key, count))

    def put(self, key: str, body: bytes, *, content_type: str = "") -> None:
        with self._lock:
            self.requests["put"] += 1
            self.written += len(body)
        if self.keeps:
            path = self.root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    def put_once(self, key: str, body: bytes, *, content_type: str = "") -> bool:
        path = self.root / key
        if path.exists():
            if path.read_bytes() != body:
                raise OverwriteError(key)
            return False
        self.put(key, body)
        return True

    def copy(self, source: str, target: str) -> None:
        """S3 copies by itself; a link costs this process as little."""
        self._count("put")
        path = self.root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(self._path(source), path)

    def exists(self, key: str) -> bool:
        self._count("get")
        return (self.root / key).exists()

    def list(self, prefix: str) -> Iterator[StoredObject]:
        top = self.root / prefix.rpartition("/")[0]
        paths = [path for path in top.rglob("*") if path.is_file()] if top.is_dir() else []
        self._count("list", 1 + len(paths) // 1000)
        for path in sorted(paths):
            key, size = path.relative_to(self.root).as_posix(), path.stat().st_size
            if key.startswith(prefix):
                yield StoredObject(key=key, etag=str(size), bytes=size)

    def list_versions(self, prefix: str) -> Iterator[StoredObject]:
        for entry in self.list(prefix):
            yield StoredObject(key=entry.key, etag=entry.etag, bytes=entry.bytes, version="v")

    def folders(self, prefix: str) -> Iterator[str]:
        self._count("list")
        yield from sorted(path.name for path in (self.root / prefix).iterdir() if path.is_dir())

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def _path(self, key: str) -> Path:
        path = self.root / key
        if not path.is_file():
            raise KeyError(self.uri(key))
        return path

    def _counted(self, body: bytes) -> bytes:
        with self._lock:
            self.requests["get"] += 1
            self.read += len(body)
        return body

    def _count(self, kind: str, times: int = 1) -> None:
        with self._lock:
            self.requests[kind] += times

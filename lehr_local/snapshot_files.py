"""The files of a snapshot: states that are complete or not believed, and the bytes that they refer to.

A state file is one line that describes it, with the SHA-256 of what follows, and the compressed document. It appears
by a rename, and the one before stays: after `kill -9`, or with a file that is torn, that one is read. Bytes (objects
in S3, code) are files named by their own SHA-256, written once, and removed when neither state names them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import time
import weakref
import zlib
from pathlib import Path
from typing import IO, Any

from lehr_local.errors import LocalCloudError

logger = logging.getLogger(__name__)

FORMAT = 1
_KEPT_STATES = 2
_CHUNK = 1 << 20
_HASH_LOOKS = 20
_HASH_WAIT_S = 0.01
_STATE_NAME = re.compile(r"state-(\d{8})")
_BLOB_NAME = re.compile(r"[0-9a-f]{64}")


class TornError(Exception):
    """Raised for a file that is not what its name or its first line says."""


class BlobStore:
    """Bytes under the name of their SHA-256."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: weakref.WeakKeyDictionary[Any, tuple[Any, str]] = weakref.WeakKeyDictionary()
        self._hashed: dict[int, tuple[bytes, str]] = {}
        self._on_disk: set[str] = set()
        self.named: set[str] = set()

    def begin(self) -> None:
        """A new snapshot begins: `named` collects what it refers to."""
        # What the last one did not name may be gone from the disk, and is not held in memory for its hash.
        self._hashed = {key: value for key, value in self._hashed.items() if value[1] in self.named}
        self._on_disk = self._present()
        self.named = set()

    def add(self, content: bytes) -> str:
        known = self._hashed.get(id(content))
        if known is None or known[0] is not content:
            name = hashlib.sha256(content).hexdigest()
            self._write(name, [content])
            self._hashed[id(content)] = known = (content, name)
        self.named.add(known[1])
        return known[1]

    def add_stored(self, key: Any) -> str:
        """The content of an object of moto's S3, read once for as long as it does not change."""
        # moto hashes a new object without its lock; two readers of one file would disturb each other.
        for _ in range(_HASH_LOOKS):
            if key._etag is not None or key.disposed:
                break
            time.sleep(_HASH_WAIT_S)
        mark = (key.contentsize, key.last_modified, key._etag, key.disposed)
        known = self._known.get(key)
        if known is None or known[0] != mark or known[1] not in self._on_disk:
            with key.lock:
                name = self._write_file(key._value_buffer) if not key.disposed else self._empty()
            self._known[key] = known = (mark, name)
        self.named.add(known[1])
        return known[1]

    def remember(self, key: Any, name: str) -> None:
        self._known[key] = ((key.contentsize, key.last_modified, key._etag, key.disposed), name)

    def read(self, name: str) -> bytes:
        """Raises TornError if the bytes are not those of the name."""
        try:
            content = self._path(name).read_bytes()
        except OSError as error:
            raise TornError(f"{name} is missing") from error
        if hashlib.sha256(content).hexdigest() != name:
            raise TornError(f"{name} is damaged")
        self._hashed[id(content)] = (content, name)
        return content

    def copy_to(self, name: str, target: Any) -> None:
        digest = hashlib.sha256()
        try:
            with self._path(name).open("rb") as source:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    target.write(chunk)
        except OSError as error:
            raise TornError(f"{name} is missing") from error
        if digest.hexdigest() != name:
            raise TornError(f"{name} is damaged")

    def keep_only(self, names: set[str]) -> None:
        for name in self._present() - names:
            self._path(name).unlink(missing_ok=True)

    def _present(self) -> set[str]:
        if not self._folder.is_dir():
            return set()
        return {entry.name for entry in self._folder.iterdir() if _BLOB_NAME.fullmatch(entry.name)}

    def _path(self, name: str) -> Path:
        if not _BLOB_NAME.fullmatch(name):
            raise TornError(f"{name!r} is no name of bytes")
        return self._folder / name

    def _empty(self) -> str:
        name = hashlib.sha256(b"").hexdigest()
        self._write(name, [b""])
        return name

    def _write(self, name: str, chunks: list[bytes]) -> None:
        path = self._path(name)
        if path.exists():
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = path.with_suffix(".new")
        with scratch.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        scratch.rename(path)

    def _write_file(self, source: IO[bytes]) -> str:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = self._folder / f"{os.getpid()}.new"
        digest = hashlib.sha256()
        source.seek(0)
        with scratch.open("wb") as file:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
        name = digest.hexdigest()
        scratch.rename(self._path(name))
        return name


class SnapshotFiles:
    """The newest states of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = BlobStore(folder / "bytes")
        self._named: dict[int, set[str]] = {}
        self._last_digest = ""

    def write(self, document: dict[str, Any], about: dict[str, str]) -> bool:
        """Write a state, unless it is the last one again; whether it was written."""
        text = json.dumps(document, separators=(",", ":"), sort_keys=False).encode()
        digest = hashlib.sha256(text).hexdigest()
        if digest == self._last_digest:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        payload = zlib.compress(text, 1)
        head = {"format": FORMAT, **about, "sha256": hashlib.sha256(payload).hexdigest()}
        head["bytes"] = " ".join(sorted(self.blobs.named))
        number = max(self._numbers(), default=0) + 1
        path = self.folder / f"state-{number:08}"
        scratch = self.folder / "state.new"
        with scratch.open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n" + payload)
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(path)
        self._last_digest = digest
        self._tidy()
        return True

    def states(self) -> list[Path]:
        """All state files, newest first."""
        return [self.folder / f"state-{number:08}" for number in sorted(self._numbers(), reverse=True)]

    def read(self, path: Path) -> tuple[dict[str, str], dict[str, Any]]:
        """The description and the document of a state. Raises TornError, or LocalCloudError for another format."""
        head, payload = self._open(path)
        if head.get("format") != FORMAT:
            raise LocalCloudError(f"{path} was written by another version of the local cloud.")
        if hashlib.sha256(payload).hexdigest() != head.get("sha256"):
            raise TornError(f"{path.name} is torn")
        document: dict[str, Any] = json.loads(zlib.decompress(payload))
        return head, document

    def _open(self, path: Path) -> tuple[dict[str, Any], bytes]:
        try:
            line, _, payload = path.read_bytes().partition(b"\n")
            head = json.loads(line)
        except (OSError, ValueError) as error:
            raise TornError(f"{path.name} is torn") from error
        if not isinstance(head, dict):
            raise TornError(f"{path.name} is torn")
        return head, payload

    def _numbers(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        found = (_STATE_NAME.fullmatch(entry.name) for entry in self.folder.iterdir())
        return [int(match[1]) for match in found if match]

    def _tidy(self) -> None:
        states = self.states()
        for path in states[_KEPT_STATES:]:
            path.unlink(missing_ok=True)
        needed = set()
        for path in states[:_KEPT_STATES]:
            with contextlib.suppress(TornError):
                needed.update(str(self._open(path)[0].get("bytes", "")).split())
        self.blobs.keep_only(needed)

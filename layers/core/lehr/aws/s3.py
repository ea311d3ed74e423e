"""`ObjectStore` over one S3 bucket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from botocore.exceptions import ClientError

from lehr.errors import ChangedDataError, OverwriteError
from lehr.ports import Sink, StoredObject

_MISSING = {"NoSuchKey", "NoSuchVersion", "404", "NotFound"}
_UNMET = {"PreconditionFailed", "412"}
# S3's word for two conditional writes of a key at once, which botocore does not retry: how long to wait, each time.
_CONFLICT = "ConditionalRequestConflict"
_CONFLICT_WAITS_S = (0.1, 0.3, 1.0, 3.0)
_CHUNK_BYTES = 1024 * 1024


class S3ObjectStore:
    """Reads and writes whole objects; everything Lehr passes through here fits in a function's memory."""

    def __init__(self, bucket: str, client: Any, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.bucket = bucket
        self._client = client
        self._sleep = sleep

    def get(self, key: str, *, etag: str | None = None, version: str = "") -> bytes:
        """The bytes of the object, or of a version of it. Raises KeyError if absent, ChangedDataError if `etag` does
        not match."""
        return self._read(key, _pinned(etag, version))

    def get_start(self, key: str, count: int) -> bytes:
        """The first `count` bytes (fewer if the object is shorter). Raises KeyError if absent."""
        return self.get_range(key, 0, count)

    def get_range(
        self, key: str, first: int, count: int, *, etag: str | None = None, version: str = ""
    ) -> bytes:
        """`count` bytes from byte `first` on (fewer where the object ends). Raises as `get` does."""
        try:
            return self._read(key, {"Range": f"bytes={first}-{first + count - 1}", **_pinned(etag, version)})
        except ClientError as fault:
            if fault.response["Error"]["Code"] == "InvalidRange":
                return b""
            raise

    def get_into(self, key: str, count: int, sink: Sink) -> None:
        """Write the first `count` bytes to `sink` piece by piece. Raises KeyError if absent."""
        try:
            body = self._open(key, {"Range": f"bytes=0-{count - 1}"})
        except ClientError as fault:
            if fault.response["Error"]["Code"] == "InvalidRange":
                return
            raise
        sink.restart()
        for chunk in body.iter_chunks(_CHUNK_BYTES):
            sink.write(chunk)

    def _read(self, key: str, options: dict[str, str]) -> bytes:
        body: bytes = self._open(key, options).read()
        return body

    def _open(self, key: str, options: dict[str, str]) -> Any:
        try:
            return self._client.get_object(Bucket=self.bucket, Key=key, **options)["Body"]
        except ClientError as fault:
            told = self._told(key, fault)
            if told is None:
                raise
            raise told from fault

    def _told(self, key: str, fault: ClientError) -> KeyError | ChangedDataError | None:
        """What an error of S3 means to who reads; None: nothing of his."""
        code = fault.response["Error"]["Code"]
        if code in _MISSING:
            return KeyError(f"s3://{self.bucket}/{key}")
        if code in _UNMET:
            return ChangedDataError(
                "was overwritten while a run was reading it",
                place=f"s3://{self.bucket}/{key}",
                hint="drop _READY again to start a run on the new data",
            )
        return None

    def put(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None:
        self._client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)

    def put_once(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> bool:
        """Write an object that never changes; False if these bytes are there already, as after a lost reply.

        Raises OverwriteError if other bytes are.
        """
        waits_s = iter(_CONFLICT_WAITS_S)
        while True:
            try:
                self._client.put_object(
                    Bucket=self.bucket, Key=key, Body=body, ContentType=content_type, IfNoneMatch="*"
                )
            except ClientError as fault:
                code = fault.response["Error"]["Code"]
                if code in _UNMET:
                    break
                wait_s = next(waits_s, None) if code == _CONFLICT else None
                if wait_s is None:
                    raise
                self._sleep(wait_s)
            else:
                return True
        if not self._holds(key, body):
            raise OverwriteError(f"s3://{self.bucket}/{key} is there already, with other bytes")
        return False

    def _holds(self, key: str, body: bytes) -> bool:
        """Whether an object has these bytes; a second copy of it might not fit into memory."""
        answer = self._client.get_object(Bucket=self.bucket, Key=key)
        with closing(answer["Body"]) as stream:
            if answer["ContentLength"] != len(body):
                return False
            position = 0
            for chunk in stream.iter_chunks(_CHUNK_BYTES):
                if chunk != body[position : position + len(chunk)]:
                    return False
                position += len(chunk)
        return position == len(body)

    def copy(self, source: str, target: str) -> None:
        self._client.copy_object(
            Bucket=self.bucket, Key=target, CopySource={"Bucket": self.bucket, "Key": source}
        )

    def exists(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as fault:
            if fault.response["Error"]["Code"] in _MISSING:
                return False
            raise
        return True

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Everything under `prefix`, in key order."""
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                yield StoredObject(key=entry["Key"], etag=entry["ETag"].strip('"'), bytes=entry["Size"])

    def list_versions(self, prefix: str) -> Iterator[StoredObject]:
        """As `list`, with the version that each object has now; earlier ones are passed over, a thousand a page."""
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in pages:
            for entry in page.get("Versions", []):
                if entry["IsLatest"]:
                    yield StoredObject(
                        key=entry["Key"],
                        etag=entry["ETag"].strip('"'),
                        bytes=entry["Size"],
                        # An object of a time without versions, which the next one would replace.
                        version="" if entry["VersionId"] == "null" else entry["VersionId"],
                    )

    def folders(self, prefix: str) -> Iterator[str]:
        """The names directly under `prefix` that have something below them, in order; `prefix` ends with a slash."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix, Delimiter="/"
        )
        for page in pages:
            for entry in page.get("CommonPrefixes", []):
                yield entry["Prefix"].removeprefix(prefix).removesuffix("/")

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"


def _pinned(etag: str | None, version: str) -> dict[str, str]:
    """What makes S3 read these bytes or none."""
    return ({"IfMatch": f'"{etag}"'} if etag else {}) | ({"VersionId": version} if version else {})

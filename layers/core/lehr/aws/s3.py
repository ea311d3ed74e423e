"""`ObjectStore` over one S3 bucket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from lehr.errors import ChangedDataError
from lehr.ports import StoredObject

_MISSING = {"NoSuchKey", "404", "NotFound"}


class S3ObjectStore:
    """Reads and writes whole objects; everything Lehr passes through here fits in a function's memory."""

    def __init__(self, bucket: str, client: Any) -> None:
        self.bucket = bucket
        self._client = client

    def get(self, key: str, *, etag: str | None = None) -> bytes:
        """The object's bytes. Raises KeyError if absent, ChangedDataError if `etag` no longer matches."""
        condition = {"IfMatch": f'"{etag}"'} if etag else {}
        return self._read(key, condition)

    def get_start(self, key: str, count: int) -> bytes:
        """The first `count` bytes (fewer if the object is shorter). Raises KeyError if absent."""
        try:
            return self._read(key, {"Range": f"bytes=0-{count - 1}"})
        except ClientError as fault:
            if fault.response["Error"]["Code"] == "InvalidRange":
                return b""
            raise

    def _read(self, key: str, options: dict[str, str]) -> bytes:
        try:
            body: bytes = self._client.get_object(Bucket=self.bucket, Key=key, **options)["Body"].read()
        except ClientError as fault:
            code = fault.response["Error"]["Code"]
            if code in _MISSING:
                raise KeyError(f"s3://{self.bucket}/{key}") from fault
            if code in {"PreconditionFailed", "412"}:
                raise ChangedDataError(
                    "was overwritten while a run was reading it",
                    place=f"s3://{self.bucket}/{key}",
                    hint="drop _READY again to start a run on the new data",
                ) from fault
            raise
        return body

    def put(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None:
        self._client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)

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

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

"""Deleting objects for good: every version that a bucket keeps, and the markers of deletion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lehr.errors import LehrError

_AT_ONCE = 1000  # what DeleteObjects takes


class IncompleteErasureError(LehrError):
    """Raised when S3 has refused to delete some of the versions; the others are gone."""


def erase(
    client: Any, bucket: str, prefix: str, *, last: str = "", keeps_latest: bool = False, exact: bool = False
) -> int:
    """Delete all versions of all keys that begin with `prefix`; returns how many.

    Those of keys that end with `last` go when all others are gone. With `keeps_latest` the present versions stay, and
    with `exact` the prefix is a key. Raises IncompleteErasureError.
    """
    found = [
        entry
        for entry in _versions(client, bucket, prefix)
        if not (keeps_latest and entry["IsLatest"]) and (not exact or entry["Key"] == prefix)
    ]
    found.sort(key=lambda entry: bool(last) and entry["Key"].endswith(last))
    for first in range(0, len(found), _AT_ONCE):
        objects = [
            {"Key": entry["Key"], "VersionId": entry["VersionId"]}
            for entry in found[first : first + _AT_ONCE]
        ]
        answer = client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        if errors := answer.get("Errors"):
            raise IncompleteErasureError(
                f"{len(errors)} versions under s3://{bucket}/{prefix} are still there; of {errors[0]['Key']} S3 says: "
                f"{errors[0]['Message']}"
            )
    return len(found)


def _versions(client: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Versions", [])
        yield from page.get("DeleteMarkers", [])

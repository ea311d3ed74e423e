"""Listing the versions of a bucket without copying what is in it.

moto 5.2.5 answers ListObjectVersions from a deep copy of every version in the bucket, bytes included, and copies them
again for every page: a listing of a bucket that holds a gigabyte took a gigabyte. What is listed is what is known of a
version, so its copy has no bytes.
"""

from __future__ import annotations

import copy
import tempfile
import threading
from typing import Any

from moto.s3.models import FakeKey


def install() -> None:
    """From now on a deep copy of one of moto's objects is of its description. Nothing else in moto asks for one."""
    FakeKey.__deepcopy__ = _without_bytes


def _without_bytes(key: Any, memo: dict[int, Any]) -> Any:
    known = copy.copy(key.__dict__)
    known["_etag"] = key.etag.strip('"')
    # A copy that goes closes its buffer, so it must have one of its own.
    known["_value_buffer"] = tempfile.SpooledTemporaryFile(known["_max_buffer_size"])  # noqa: SIM115
    known["lock"] = threading.Lock()
    known["multipart"] = None
    # Nobody disposes of a copy, and moto warns of those that were not.
    known["disposed"] = True
    described = object.__new__(type(key))
    described.__dict__.update(known)
    return described

"""The list of a training channel's files, as SageMaker reads one under `S3DataType: ManifestFile`.

    [{"prefix": "s3://bucket/datasets/mnist/shards/"}, "0a1b….safetensors", "2c3d….safetensors"]

A file lies in the channel's folder under what stands behind the prefix. Source: "S3Uri" in
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from lehr.errors import ContractError


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """An object of a channel, and its path in the channel's folder."""

    bucket: str
    key: str
    name: str


def write_channel_list(prefix: str, names: Iterable[str]) -> bytes:
    """The list of `prefix` + each of `names`, each of them once; `prefix` is an s3:// URI."""
    return json.dumps([{"prefix": prefix}, *dict.fromkeys(names)]).encode()


def read_channel_list(raw: bytes, place: str) -> list[ListedFile]:
    """The files of a list, in its order. Raises ContractError for what is none, naming `place`."""
    try:
        first, *names = json.loads(raw)
        prefix = first["prefix"]
    except (ValueError, TypeError, KeyError) as fault:
        raise ContractError(f"{place} is no list of a channel: it begins with no prefix") from fault
    if not isinstance(prefix, str) or not prefix.startswith("s3://"):
        raise ContractError(f"{place} has the prefix {prefix!r}, which is no s3:// URI")
    bucket, _, start = prefix.removeprefix("s3://").partition("/")
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ContractError(f"{place} lists no files, or something else than names")
    return [ListedFile(bucket=bucket, key=start + name, name=name) for name in names]

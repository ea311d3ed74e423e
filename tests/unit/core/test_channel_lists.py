"""The list of a channel's files: what is written is what SageMaker documents, and nothing else is read."""

from __future__ import annotations

import json

import pytest

from lehr.channel_lists import ListedFile, read_channel_list, write_channel_list
from lehr.errors import ContractError


def test_a_list_begins_with_its_prefix_and_names_each_file_once() -> None:
    raw = write_channel_list("s3://bucket/datasets/mnist/shards/", ["b", "a", "b"])
    assert json.loads(raw) == [{"prefix": "s3://bucket/datasets/mnist/shards/"}, "b", "a"]
    assert read_channel_list(raw, "here") == [
        ListedFile(bucket="bucket", key=f"datasets/mnist/shards/{name}", name=name) for name in "ba"
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b'["a"]',
        b'[{"prefix": 1}, "a"]',
        b'[{"prefix": "/etc/"}, "passwd"]',
        b'[{"prefix": "s3://bucket/x/"}]',
        b'[{"prefix": "s3://bucket/x/"}, 7]',
        b'[{"prefix": "s3://bucket/x/"}, ""]',
        b"\xff",
    ],
)
def test_what_is_no_list_is_refused_with_its_place(raw: bytes) -> None:
    with pytest.raises(ContractError, match="here"):
        read_channel_list(raw, "here")

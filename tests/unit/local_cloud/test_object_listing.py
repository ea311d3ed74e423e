"""moto's listing of versions says the same without copying what is in a bucket."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.s3.models import FakeKey, s3_backends

from lehr_local import object_listing

BUCKET = "bucket-of-a-test"
VERSIONS = (b"first" * 1000, b"second")


@pytest.fixture
def bucket() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        for body in VERSIONS:
            client.put_object(Bucket=BUCKET, Key="a/b", Body=body)
        client.put_object(Bucket=BUCKET, Key="gone", Body=b"x")
        client.delete_object(Bucket=BUCKET, Key="gone")
        yield client


def listed(client: Any) -> Any:
    answer = client.list_object_versions(Bucket=BUCKET)
    return answer["Versions"], answer["DeleteMarkers"]


def test_a_listing_is_the_same_and_the_objects_are_whole_after_it(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = listed(bucket)
    monkeypatch.setattr(FakeKey, "__deepcopy__", None, raising=False)
    object_listing.install()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [listed(bucket) for _ in range(3)] == [expected] * 3
    for version, body in zip(expected[0][:2], reversed(VERSIONS), strict=True):
        found = bucket.get_object(Bucket=BUCKET, Key="a/b", VersionId=version["VersionId"])
        assert found["Body"].read() == body
    (backend,) = (
        one for regions in s3_backends.values() for one in regions.values() if BUCKET in one.buckets
    )
    key = backend.buckets[BUCKET].keys["a/b"]
    assert key.value == VERSIONS[1]
    assert copy.deepcopy(key)._value_buffer.read() == b"", "the copy has no bytes"

"""The object store against moto, and the unit tests' fake beside it: written once is written, a lost reply success."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from lehr.aws.s3 import S3ObjectStore
from lehr.errors import ChangedDataError, OverwriteError
from lehr.ports import ObjectStore, StoredObject
from tests.fakes import InMemoryObjectStore

KEY = "models/mnist/v1/model.onnx"
LARGE = bytes(range(256)) * 10_000


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        yield client


@pytest.fixture(params=["moto", "fake"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "fake":
        return InMemoryObjectStore("bucket")
    return S3ObjectStore("bucket", request.getfixturevalue("s3"))


def test_what_is_written_once_can_be_read(store: ObjectStore) -> None:
    assert store.put_once(KEY, b"onnx")
    assert store.get(KEY) == b"onnx"


def test_a_range_is_read_of_the_object_that_its_etag_names(store: ObjectStore) -> None:
    store.put(KEY, b"0123456789")
    (entry,) = store.list(KEY)
    assert store.get_range(KEY, 2, 3, etag=entry.etag) == b"234"
    assert store.get_range(KEY, 8, 10) == b"89"
    assert store.get_range(KEY, 10, 5, etag=entry.etag) == b""
    store.put(KEY, b"9876543210")
    with pytest.raises(ChangedDataError):
        store.get_range(KEY, 2, 3, etag=entry.etag)
    with pytest.raises(KeyError):
        store.get_range("models/none", 0, 1)


def test_a_version_is_read_whatever_was_written_over_it(s3: Any) -> None:
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    for store in (S3ObjectStore("bucket", s3), InMemoryObjectStore("bucket", is_versioned=True)):
        store.put(KEY, b"0123456789")
        (entry,) = store.list_versions(KEY)
        store.put(KEY, b"9876543210")
        pin = {"etag": entry.etag, "version": entry.version}
        assert store.get(KEY, **pin) == b"0123456789"
        assert store.get_range(KEY, 2, 3, **pin) == b"234"
        s3.delete_object(Bucket="bucket", Key=KEY)
        assert store.get(KEY, **pin) == b"0123456789"


def test_only_what_is_there_now_is_listed_with_its_version_page_after_page(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    store = S3ObjectStore("bucket", s3)
    store.put("a/before versions", b"0")
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    wanted = {"a/before versions": ""}
    for number in range(5):
        s3.put_object(Bucket="bucket", Key=f"a/{number} ü", Body=b"x" * number)
        # Two versions of one moment are in no order for moto.
        time.sleep(0.002)
        answer = s3.put_object(Bucket="bucket", Key=f"a/{number} ü", Body=b"y" * number)
        wanted[f"a/{number} ü"] = answer["VersionId"]
    s3.delete_object(Bucket="bucket", Key="a/3 ü")
    del wanted["a/3 ü"]
    listed = list(store.list_versions("a/"))
    assert {entry.key: entry.version for entry in listed} == wanted
    plain = [StoredObject(key=one.key, etag=one.etag, bytes=one.bytes) for one in listed]
    assert plain == list(store.list("a/"))


def test_a_bucket_without_versions_has_none(store: ObjectStore) -> None:
    store.put(KEY, b"0123456789")
    assert [entry.version for entry in store.list_versions(KEY)] == [""]


@pytest.mark.parametrize("body", [b"onnx", b"", LARGE], ids=["short", "empty", "large"])
def test_writing_the_same_bytes_again_changes_nothing(store: ObjectStore, body: bytes) -> None:
    assert store.put_once(KEY, body)
    assert not store.put_once(KEY, body)
    assert store.get(KEY) == body


@pytest.mark.parametrize(
    "other", [b"", LARGE[:-1], LARGE + b"x", LARGE[:-1] + b"x"], ids=["none", "fewer", "more", "others"]
)
def test_other_bytes_are_refused_and_the_first_stay(store: ObjectStore, other: bytes) -> None:
    store.put_once(KEY, LARGE)
    with pytest.raises(OverwriteError, match=f"s3://bucket/{KEY} is there already, with other bytes"):
        store.put_once(KEY, other)
    assert store.get(KEY) == LARGE


def test_the_content_type_of_what_is_written_once_is_kept(s3: Any) -> None:
    S3ObjectStore("bucket", s3).put_once(KEY, b"{}", content_type="application/json")
    assert s3.head_object(Bucket="bucket", Key=KEY)["ContentType"] == "application/json"


class LosesTheReply:
    """A client whose next write commits and is then sent again, as the SDK does after a dropped connection."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **arguments: Any) -> Any:
        self._client.put_object(**arguments)
        return self._client.put_object(**arguments)


def test_a_write_whose_reply_was_lost_finds_its_own_bytes(s3: Any) -> None:
    assert not S3ObjectStore("bucket", LosesTheReply(s3)).put_once(KEY, b"onnx")
    assert s3.list_object_versions(Bucket="bucket")["Versions"][0]["Size"] == 4


def test_the_lost_reply_is_real(s3: Any) -> None:
    """Negative control: moto refuses the second write of a key, with the code that S3 has."""
    with pytest.raises(ClientError) as refused:
        LosesTheReply(s3).put_object(Bucket="bucket", Key=KEY, Body=b"onnx", IfNoneMatch="*")
    assert refused.value.response["Error"]["Code"] == "PreconditionFailed"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


class Conflicts:
    """A client whose next `times` writes meet another one of the same key, of which moto knows nothing."""

    def __init__(self, client: Any, times: int, code: str = "ConditionalRequestConflict") -> None:
        self._client, self._left, self._code = client, times, code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **arguments: Any) -> Any:
        if self._left:
            self._left -= 1
            raise ClientError({"Error": {"Code": self._code, "Message": ""}}, "PutObject")
        return self._client.put_object(**arguments)


def test_a_write_that_meets_another_is_tried_again_with_growing_pauses(s3: Any) -> None:
    pauses: list[float] = []
    assert S3ObjectStore("bucket", Conflicts(s3, 3), sleep=pauses.append).put_once(KEY, b"onnx")
    assert len(pauses) == 3
    assert pauses == sorted(pauses)
    assert sum(pauses) < 10


@pytest.mark.parametrize(("times", "code"), [(99, "ConditionalRequestConflict"), (1, "AccessDenied")])
def test_what_does_not_pass_is_raised(s3: Any, times: int, code: str) -> None:
    store = S3ObjectStore("bucket", Conflicts(s3, times, code), sleep=lambda _: None)
    with pytest.raises(ClientError, match=code):
        store.put_once(KEY, b"onnx")


def test_the_folders_under_a_prefix_are_named_once_each_and_in_order(store: ObjectStore) -> None:
    for key in ("projects/b/head.json", "projects/a/1/x", "projects/a/2/y", "projects/loose", "other/c/x"):
        store.put(key, b"")
    assert list(store.folders("projects/")) == ["a", "b"]
    assert list(store.folders("nothing/")) == []

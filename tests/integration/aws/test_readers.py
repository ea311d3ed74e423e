"""What the endpoint reads without boto3 is what the adapters over boto3 read, from one server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

import boto3
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from lehr.aws.items import champion_key, to_item
from lehr.aws.readers import ChampionReader, S3Reader, open_readers
from lehr.aws.registry import DynamoModelRegistry
from lehr.aws.s3 import S3ObjectStore
from lehr.contracts.registry import Alias
from tests.fakes import Kept

ALIAS = Alias(
    project="mnist",
    champion="v2",
    previous="v1",
    canary="v3",
    weight=0.05,
    generation=12,
    owner="run-é",
    updated_at="2026-01-01T00:00:00.000Z",
)


@pytest.fixture(scope="module")
def environ() -> Iterator[dict[str, str]]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="bucket")
        boto3.client("dynamodb").create_table(
            TableName="table",
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        yield dict(os.environ) | values
    server.stop()


@pytest.fixture(scope="module")
def readers(environ: dict[str, str]) -> Iterator[tuple[S3Reader, ChampionReader]]:
    opened = open_readers("bucket", "table", environ)
    yield opened
    for reader in opened:
        reader.close()


@pytest.fixture(scope="module")
def s3(environ: dict[str, str]) -> Any:
    return boto3.client("s3")


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text("abz019-_.!*'() +&$@=;:,?é", min_size=1, max_size=20).filter(lambda key: key.strip(".")),
    st.integers(1, 12),
)
def test_an_object_is_read_as_the_sdk_reads_it(
    s3: Any, readers: tuple[S3Reader, ChampionReader], key: str, count: int
) -> None:
    by_sdk = S3ObjectStore("bucket", s3)
    by_sdk.put(key, b"0123456789")
    assert readers[0].get_start(key, count) == by_sdk.get_start(key, count) == b"0123456789"[:count]
    for store in (readers[0], by_sdk):
        sink = Kept()
        store.get_into(key, count, sink)
        assert (sink.raw, sink.restarts) == (b"0123456789"[:count], 1)
    assert readers[0].exists(key)


def test_what_is_not_there_is_so_for_both(s3: Any, readers: tuple[S3Reader, ChampionReader]) -> None:
    for store in (S3ObjectStore("bucket", s3), readers[0]):
        with pytest.raises(KeyError, match="s3://bucket/absent"):
            store.get_start("absent", 5)
        with pytest.raises(KeyError, match="s3://bucket/absent"):
            store.get_into("absent", 5, Kept())
        assert not store.exists("absent")
        assert store.uri("k") == "s3://bucket/k"


@pytest.mark.parametrize("alias", [ALIAS, msgspec.structs.replace(ALIAS, canary=None, previous=None)])
def test_an_alias_is_read_as_the_sdk_reads_it(
    alias: Alias, environ: dict[str, str], readers: tuple[S3Reader, ChampionReader]
) -> None:
    table = boto3.resource("dynamodb").Table("table")
    table.put_item(Item=champion_key("mnist") | to_item(alias))
    assert readers[1].alias("mnist") == DynamoModelRegistry(table).alias("mnist") == alias


def test_a_project_without_an_alias_has_none(readers: tuple[S3Reader, ChampionReader]) -> None:
    assert readers[1].alias("nobody") is None


def test_folders_are_listed_as_the_sdk_lists_them(s3: Any, readers: tuple[S3Reader, ChampionReader]) -> None:
    by_sdk = S3ObjectStore("bucket", s3)
    names = ["a", "a b+c", "é&<x>%2F", "plus+", "zz"]
    for name in names:
        by_sdk.put(f"listed/{name}/head.json", b"{}")
        by_sdk.put(f"listed/{name}/deep/er", b"{}")
    by_sdk.put("listed/file", b"")
    found = list(readers[0].folders("listed/"))
    assert found == list(by_sdk.folders("listed/")) == sorted(names, key=lambda name: f"{name}/")
    assert list(readers[0].folders("listed/nothing/")) == []


def test_a_listing_of_several_pages_is_read_as_far_as_it_is_asked_for(
    s3: Any, readers: tuple[S3Reader, ChampionReader]
) -> None:
    names = [f"project-{number:04d}" for number in range(1001)]
    for name in names:
        s3.put_object(Bucket="bucket", Key=f"many/{name}/head.json", Body=b"")
    assert list(readers[0].folders("many/")) == names
    assert list(islice(readers[0].folders("many/"), 3)) == names[:3]

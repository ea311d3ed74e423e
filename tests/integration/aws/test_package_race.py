"""Twelve at once package the same trained model: one version, each file written once. A number would be taken twice."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError

from functions.package_model.publish import package_best_trial
from lehr import layout
from lehr.aws.registry import DynamoModelRegistry
from lehr.aws.s3 import S3ObjectStore
from lehr.contracts.package import ModelPackage
from lehr.contracts.workflow import PackageRequest
from lehr.errors import OverwriteError
from lehr.model_packages import check_package
from tests.fakes import InMemoryObjectStore, InMemoryRegistry, without_more
from tests.unit.functions.test_package_model import world

RACERS = 12
Record = Callable[[str, object], None]


class Atomic:
    """A client of S3 whose single calls are atomic, as S3's are and those of moto under threads are not."""

    def __init__(self, client: Any) -> None:
        self._client, self._lock = client, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*given: Any, **named: Any) -> Any:
            with self._lock:
                return method(*given, **named)

        return call


class Race:
    """A bucket with what a run has left."""

    def __init__(self, table: Any) -> None:
        self.table, self.client = table, boto3.client("s3")
        self.client.create_bucket(Bucket="artifacts")
        trained, self.request = world(0.9, 0.95)
        package_best_trial(
            self.request, InMemoryObjectStore("artifacts", trained.objects), InMemoryRegistry(), without_more
        )
        for key, body in trained.objects.items():
            self.client.put_object(Bucket="artifacts", Key=key, Body=body)
        self.store = S3ObjectStore("artifacts", Atomic(self.client))
        self.told: Counter[str] = Counter()

    def run(self, requests: list[PackageRequest]) -> None:
        """Each racer packages one of the requests, all beginning at once."""
        barrier, lock = threading.Barrier(RACERS), threading.Lock()

        def package(number: int) -> None:
            barrier.wait(timeout=30)
            registry = DynamoModelRegistry(self.table)
            try:
                request = requests[number % len(requests)]
                said = package_best_trial(request, self.store, registry, without_more).version
            except OverwriteError:
                said = "is there already, with other bytes"
            with lock:
                self.told[said] += 1

        with ThreadPoolExecutor(RACERS) as threads:
            list(threads.map(package, range(RACERS)))

    def versions(self) -> set[str]:
        return {entry.key.split("/")[2] for entry in self.store.list("models/mnist/")}


def test_the_same_model_is_one_version_however_many_package_it(table: Any, record_property: Record) -> None:
    race = Race(table)
    race.run([race.request])
    record_property("racers", RACERS)
    (version,) = race.versions()
    assert race.told == {version: RACERS}
    check_package(race.store, "mnist", version, None)
    (record,) = DynamoModelRegistry(table).models("mnist")
    assert (record.version, record.run) == (version, "r1")
    # Who comes later changes no byte.
    key = layout.model_file_key("mnist", version, "model.onnx")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        race.client.put_object(Bucket="artifacts", Key=key, Body=b"another", IfNoneMatch="*")


def torn(race: Race) -> list[str]:
    """The files of version 7 that are not those of its package.json."""
    prefix = layout.model_prefix("mnist", "7")
    package = ModelPackage.from_json(race.store.get(f"{prefix}package.json"))
    return [
        name
        for name, file in package.files.items()
        if hashlib.sha256(race.store.get(prefix + name)).hexdigest() != file.sha256
    ]


def others(request: PackageRequest) -> list[PackageRequest]:
    """Of two models that differ in what their lineage says."""
    return [request, msgspec.structs.replace(request, code_sha="0ther")]


def test_two_models_are_two_versions(table: Any) -> None:
    race = Race(table)
    race.run(others(race.request))
    assert sorted(race.told.values()) == [RACERS // 2, RACERS // 2]
    for version in race.versions():
        check_package(race.store, "mnist", version, None)
    assert (
        {one.version for one in DynamoModelRegistry(table).models("mnist")}
        == race.versions()
        == set(race.told)
    )


def test_of_two_models_of_one_number_one_is_published_and_the_other_told_so(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If versions were numbers, and both had taken the next one."""
    monkeypatch.setattr(ModelPackage, "version", property(lambda package: "7"))
    race = Race(table)
    race.run(others(race.request))
    assert race.told["7"] == race.told["is there already, with other bytes"] == RACERS // 2
    assert torn(race) == []


def test_without_the_condition_each_is_told_that_it_was_published(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""

    def put_anyway(store: S3ObjectStore, key: str, body: bytes, **named: Any) -> bool:
        store.put(key, body)
        return True

    monkeypatch.setattr(ModelPackage, "version", property(lambda package: "7"))
    monkeypatch.setattr(S3ObjectStore, "put_once", put_anyway)
    race = Race(table)
    race.run(others(race.request))
    assert race.told == {"7": RACERS}

"""`lehr verify` against a published package, as it is and after somebody was at it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import boto3
import msgspec
import pytest

from lehr import layout
from lehr.aws.kms import KmsSigner
from lehr.aws.s3 import S3ObjectStore
from lehr.contracts.dataset import DatasetManifest, Shard
from lehr.contracts.package import LINEAGE_FILE, PACKAGE_FILE, Lineage, ModelPackage, PackagedFile
from lehr.contracts.provenance import PROVENANCE_FILE
from lehr.contracts.registry import ErasureRecord, ModelRecord
from lehr.provenance import sign
from lehr_cli.stack import Stack
from tests.fakes import NOW
from tests.integration.cli.calls import documents, run
from tests.signing import statement_of

PROJECT, CODE = "mnist", "c0de"
SHARD = Shard(split="train", key="shards/a", rows=1, bytes=1, sha256="0" * 64, class_counts=[1])
MANIFEST = DatasetManifest(
    project=PROJECT,
    format="idx",
    input_shape=[1],
    input_dtype="uint8",
    labels=["0"],
    shards=[SHARD],
    mean=0.0,
    std=1.0,
    raw=[],
    seed=1,
    validation_fraction=0.1,
)
DATASET = MANIFEST.sha256()[:16]


@dataclass
class Published:
    """A model of a project, with what it was made of; `key` is the stack's, if it has one."""

    stack: Any
    store: S3ObjectStore
    package: ModelPackage
    key: str

    def put(self, name: str, raw: bytes) -> None:
        self.store.put(layout.model_file_key(PROJECT, self.package.version, name), raw)

    def sign(self, key: str) -> None:
        statement = statement_of(self.package)
        said = msgspec.structs.replace(statement.predicate, dataset_version=DATASET)
        signed = sign(msgspec.structs.replace(statement, predicate=said), KmsSigner(key, boto3.client("kms")))
        self.put(PROVENANCE_FILE, signed)


def make_key() -> str:
    made = boto3.client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    arn: str = made["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture
def published(stack: Any, monkeypatch: pytest.MonkeyPatch) -> Published:
    store, key = S3ObjectStore(stack.artifacts, stack.s3), make_key()
    lineage = Lineage(
        project=PROJECT,
        run="r1",
        trial="0",
        dataset_version=DATASET,
        code_sha=CODE,
        training_job="j",
        image="image",
        trainer_version="t1",
        instance_type="t",
        hyperparameters={},
    )
    files = {LINEAGE_FILE: lineage.to_json(), "model.onnx": b"graph"}
    package = ModelPackage(
        project=PROJECT,
        files={
            name: PackagedFile(sha256=hashlib.sha256(raw).hexdigest(), bytes=len(raw))
            for name, raw in files.items()
        },
    )
    made = Published(stack, store, package, key)
    for name, raw in {**files, PACKAGE_FILE: package.to_json()}.items():
        made.put(name, raw)
    for place in (
        layout.project_head_key(PROJECT),
        layout.project_prefix(PROJECT, CODE) + "lehr.toml",
        layout.trainer_file_key("t1", "SHA256SUMS"),
        layout.dataset_channel_key(PROJECT, DATASET, "train"),
        layout.datasets_prefix(PROJECT) + SHARD.key,
    ):
        store.put(place, b"{}")
    store.put(layout.dataset_manifest_key(PROJECT, DATASET), MANIFEST.to_json())
    record = ModelRecord(
        project=PROJECT,
        version=package.version,
        run="r1",
        dataset_version=DATASET,
        created_at=NOW,
        package_sha256=package.sha256(),
    )
    stack.registry.add_model(record)
    stack.registry.promote(PROJECT, package.version, run="r1", generation=0)
    made.sign(key)
    monkeypatch.setattr(Stack, "signing_key", key)
    return made


def statuses(*arguments: str) -> tuple[int, dict[str, str]]:
    result = run("verify", PROJECT, *arguments, "--json")
    found = {one["check"]: one["status"] for one in documents(result) if one["event"] == "finding"}
    return result.exit_code, found


def test_the_champion_is_verified_by_its_files_its_signature_and_its_lineage(published: Published) -> None:
    assert statuses() == (0, {"files": "ok", "signature": "ok", "statement": "ok", "lineage": "ok"})
    told = run("verify", PROJECT, published.package.version[:6]).stdout
    assert f"by {published.key}" in told
    assert "run r1" in told


@pytest.mark.parametrize("name", ["model.onnx", LINEAGE_FILE, PACKAGE_FILE])
def test_a_file_that_was_changed_is_named(name: str, published: Published) -> None:
    published.put(name, b"other")
    result = run("verify", PROJECT)
    assert result.exit_code == 1
    assert name in result.stderr


def test_a_signature_of_another_key_is_none(published: Published) -> None:
    published.sign(make_key())
    code, found = statuses()
    assert (code, found["signature"]) == (1, "fail")


def test_a_package_that_was_never_signed_is_not_verified(published: Published) -> None:
    published.stack.s3.delete_object(
        Bucket=published.store.bucket,
        Key=layout.model_file_key(PROJECT, published.package.version, PROVENANCE_FILE),
    )
    code, found = statuses()
    assert (code, found["files"], found["signature"]) == (1, "ok", "fail")


def test_a_stack_without_a_key_says_that_it_cannot_check(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stack, "signing_key", "")
    assert statuses() == (0, {"files": "ok", "signature": "not_checked", "lineage": "ok"})
    assert published.key in run("verify", PROJECT).stdout


@pytest.mark.parametrize(
    ("key", "word"),
    [
        (layout.dataset_manifest_key(PROJECT, DATASET), "was erased"),
        (layout.datasets_prefix(PROJECT) + SHARD.key, "shard(s)"),
        (layout.project_prefix(PROJECT, CODE) + "lehr.toml", "the code"),
        (layout.trainer_file_key("t1", "SHA256SUMS"), "the trainer"),
    ],
)
def test_what_it_was_made_of_may_be_gone(key: str, word: str, published: Published) -> None:
    published.stack.s3.delete_object(Bucket=published.store.bucket, Key=key)
    code, found = statuses()
    assert (code, found["lineage"]) == (0, "warn")
    assert word in run("verify", PROJECT).stdout


def test_a_version_that_is_not_there_is_told_with_what_is_near(published: Published) -> None:
    result = run("verify", PROJECT, "zzz")
    assert result.exit_code == 2
    assert published.package.version in result.stderr


def test_a_model_that_was_erased_is_told_as_that(published: Published) -> None:
    version = published.package.version
    for name in (*published.package.files, PACKAGE_FILE):
        published.stack.s3.delete_object(
            Bucket=published.store.bucket, Key=layout.model_file_key(PROJECT, version, name)
        )
    erasure = ErasureRecord(
        project=PROJECT, erasure="e", at=NOW, files=[], datasets=[DATASET], models=[version], runs=[]
    )
    published.stack.registry.add_erasure(erasure)
    result = run("verify", PROJECT)
    assert result.exit_code == 2
    assert "was erased" in result.stderr

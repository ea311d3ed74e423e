"""Which role may read and write which items and objects, judged as IAM would from the translated template.

The same is tried against a running local cloud in tests/integration/shield/test_forbidden.py.
"""

from __future__ import annotations

import pytest

from lehr_local.authority import Context
from lehr_local.shield.policies import Demand, Document, Outcome, decide, denies_everybody
from tests.template.translated import ACCOUNT, REGION, deployed, of_type, policies

TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/registrytable"
EVERYTHING_ALLOWED: Document = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
# Partition and action: whose role may.
MAY = {
    ("champion#mnist", "GetItem"): {
        *("PackageModel", "PromoteModel", "RollbackModel", "WatchCanary", "Predict", "SealDataset"),
        *("StartBatch", "StartRun", "WatchDrift", "MirrorRegistry"),
    },
    ("champion#mnist", "PutItem"): {"PromoteModel", "RollbackModel"},
    ("champion#mnist", "UpdateItem"): set(),
    ("champion#mnist", "DeleteItem"): set(),
    ("champion#mnist", "Query"): {"RollbackModel", "MirrorRegistry"},
    ("project#mnist", "GetItem"): {"StartRun", "WriteReport"},
    ("project#mnist", "PutItem"): {"StartRun", "SealDataset", "PackageModel"},
    ("project#mnist", "UpdateItem"): {
        *("StartRun", "PackageModel", "RecordFailure", "StopOrphans", "RetrainStateMachine")
    },
    ("project#mnist", "DeleteItem"): set(),
    ("project#mnist", "Query"): {"StartRun", "MirrorRegistry"},
    ("approval#mnist", "GetItem"): set(),
    ("approval#mnist", "Query"): {"AnswerApproval"},
    ("approval#mnist", "PutItem"): {"AwaitApproval", "AnswerApproval"},
    ("approval#mnist", "UpdateItem"): {"RetrainStateMachine"},
    ("approval#mnist", "DeleteItem"): set(),
    ("other#mnist", "PutItem"): set(),
    # A scan names no partition.
    (None, "Query"): set(),
    (None, "Scan"): set(),
}


BUCKET = "arn:aws:s3:::artifactbucket"
MODEL, SHARD = "models/mnist/v1/model.onnx", f"datasets/mnist/shards/{0:064}.safetensors"
WEIGHTS = "models/mnist/v1/weights.safetensors"
MANIFEST = "datasets/mnist/v1/manifest.json"
READ_MODELS = {
    *("PackageModel", "EvaluateShard", "CompareReproduction", "PromoteModel", "RollbackModel"),
    *("WriteReport", "Predict", "PredictBatchUnit"),
}
# Key and action: whose role may.
MAY_WITH_OBJECTS = {
    (MODEL, "GetObject"): READ_MODELS,
    (WEIGHTS, "GetObject"): {*READ_MODELS, "Training"},
    (WEIGHTS, "PutObject"): {"PackageModel"},
    (MODEL, "PutObject"): {"PackageModel"},
    (MODEL, "DeleteObject"): set(),
    (MANIFEST, "PutObject"): {"SealDataset"},
    (SHARD, "PutObject"): {"SealDataset"},
    (SHARD, "DeleteObject"): set(),
    ("datasets/mnist/v1/card.html", "PutObject"): {"SealDataset", "WriteReport"},
    ("models/mnist/v1/lineage.json", "GetObject"): {
        *READ_MODELS,
        *("WatchDrift", "SealDataset", "StartRun"),
    },
    ("runs/mnist/r1/trials/x/checkpoints/1", "DeleteObject"): {"Training"},
    ("drift/mnist/latest.json", "GetObject"): {"WatchDrift", "StartRun"},
    ("drift/mnist/latest.json", "PutObject"): {"WatchDrift"},
    ("models/mnist/v1/reference.json", "PutObject"): {"PackageModel"},
    ("batches/mnist/b1/result.json", "PutObject"): {"StartBatch", "PredictBatchUnit", "SealBatch"},
    ("batches/mnist/b1/result.json", "GetObject"): {"StartBatch", "SealBatch", "PredictBatchStateMachine"},
    ("batches/mnist/b1/result.json", "DeleteObject"): set(),
}


def judged(role: str, action: str, resource: str, more: Context, *documents: Document) -> Outcome:
    context = {
        "aws:ResourceAccount": ACCOUNT,
        "aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/{role.lower()}",
        **more,
    }
    return decide(documents, Demand(action, resource, context))


@pytest.fixture(scope="module")
def documents() -> dict[str, list[Document]]:
    """The policies of each role, the guard among them."""
    found = policies(deployed({"ModelRegistryMirror": "yes"}))
    roles = {name.partition("/")[0] for name in found if "/" in name}
    return {
        role: [found["GuardPolicy"], *(found[name] for name in found if name.startswith(f"{role}/"))]
        for role in roles
    }


@pytest.mark.parametrize(("place", "names"), MAY.items(), ids=map(str, MAY))
def test_every_role_reaches_its_own_partitions_and_no_other(
    documents: dict[str, list[Document]], place: tuple[str | None, str], names: set[str]
) -> None:
    partition, action = place
    keys: Context = {"dynamodb:LeadingKeys": (partition,)} if partition else {}
    allowed = {
        role
        for role, own in documents.items()
        if judged(role, f"dynamodb:{action}", TABLE, keys, *own) == "allowed"
    }
    assert {role.removesuffix("Role").removesuffix("Function") for role in allowed} == names


@pytest.mark.parametrize(("place", "names"), MAY_WITH_OBJECTS.items(), ids=map(str, MAY_WITH_OBJECTS))
def test_every_role_writes_and_deletes_its_own_objects_and_no_others(
    documents: dict[str, list[Document]], place: tuple[str, str], names: set[str]
) -> None:
    key, action = place
    allowed = {
        role
        for role, own in documents.items()
        if judged(role, f"s3:{action}", f"{BUCKET}/{key}", {}, *own) == "allowed"
    }
    assert {role.removesuffix("Role").removesuffix("Function") for role in allowed} == names


@pytest.mark.parametrize("action", ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "PartiQLUpdate"])
def test_a_role_that_comes_to_be_allowed_everything_moves_no_champion(
    documents: dict[str, list[Document]], action: str
) -> None:
    # A batch is refused for one champion among other items.
    keys: Context = {"dynamodb:LeadingKeys": ("project#mnist", "champion#mnist")}
    outcomes = {
        role: judged(role, f"dynamodb:{action}", TABLE, keys, EVERYTHING_ALLOWED, *own)
        for role, own in documents.items()
    }
    for mover in ("PromoteModelFunctionRole", "RollbackModelFunctionRole"):
        assert outcomes.pop(mover) == "allowed"
    assert set(outcomes.values()) == {"explicitly denied"}


@pytest.mark.parametrize("action", ["DeleteObject", "DeleteObjectVersion"])
def test_a_role_that_comes_to_be_allowed_everything_deletes_no_model_and_no_dataset(
    documents: dict[str, list[Document]], action: str
) -> None:
    def outcomes(key: str) -> set[Outcome]:
        place = f"{BUCKET}/{key}"
        return {
            judged(role, f"s3:{action}", place, {}, EVERYTHING_ALLOWED, *own)
            for role, own in documents.items()
        }

    assert outcomes(MODEL) == outcomes(MANIFEST) == outcomes(SHARD) == {"explicitly denied"}
    assert outcomes("runs/mnist/r1/report.html") == {"allowed"}


@pytest.mark.parametrize(
    ("key", "is_written_once"),
    [
        (MODEL, True),
        ("models/mnist/v1/package.json", True),
        (MANIFEST, True),
        (SHARD, False),
        ("runs/mnist/r1/report.html", False),
        ("projects/mnist/head.json", False),
    ],
)
def test_a_model_and_a_manifest_are_written_under_a_condition_or_by_nobody(
    key: str, is_written_once: bool
) -> None:
    found = of_type(deployed(), "AWS::S3::BucketPolicy").values()
    documents = [item["PolicyDocument"] for item in found if item["Bucket"] == "artifactbucket"]
    assert len(documents) == 1
    known: Context = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3", "aws:PrincipalAccount": ACCOUNT}

    def is_denied(**header: str) -> bool:
        context = {**known, **{f"s3:{name.replace('_', '-')}": value for name, value in header.items()}}
        return denies_everybody(documents, Demand("s3:PutObject", f"{BUCKET}/{key}", context))

    assert is_denied() is is_written_once
    assert is_denied(if_match="etag") is is_written_once
    assert not is_denied(if_none_match="*")

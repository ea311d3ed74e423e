"""Which role may read and write which items and objects, judged as IAM would from the translated template.

The same is tried against a running local cloud in tests/integration/shield/test_forbidden.py.
"""

from __future__ import annotations

import pytest

from lehr_local.authority import Context
from lehr_local.shield.policies import Demand, Document, Outcome, decide
from tests.template.translated import ACCOUNT, REGION, deployed, policies

TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/registrytable"
EVERYTHING_ALLOWED: Document = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
# Partition and action: whose role may.
MAY = {
    ("champion#mnist", "GetItem"): {"PackageModel", "PromoteModel", "Predict"},
    ("champion#mnist", "PutItem"): {"PromoteModel"},
    ("champion#mnist", "UpdateItem"): set(),
    ("champion#mnist", "DeleteItem"): set(),
    ("champion#mnist", "Query"): set(),
    ("project#mnist", "GetItem"): {"StartRun", "WriteReport"},
    ("project#mnist", "PutItem"): {"StartRun", "SealDataset", "PackageModel"},
    ("project#mnist", "UpdateItem"): {
        *("StartRun", "PackageModel", "RecordFailure", "StopOrphans", "RetrainStateMachine")
    },
    ("project#mnist", "DeleteItem"): set(),
    ("project#mnist", "Query"): {"StartRun"},
    ("other#mnist", "PutItem"): set(),
    # A scan names no partition.
    (None, "Query"): set(),
    (None, "Scan"): set(),
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
    found = policies(deployed())
    roles = {name.partition("/")[0] for name in found if "/" in name}
    return {
        role: [found["GuardPolicy"], *(found[name] for name in found if name.startswith(f"{role}/"))]
        for role in roles
    }


@pytest.mark.parametrize(("place", "names"), MAY.items(), ids=lambda value: str(value))
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
    assert outcomes.pop("PromoteModelFunctionRole") == "allowed"
    assert set(outcomes.values()) == {"explicitly denied"}

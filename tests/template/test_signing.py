"""Who may sign model packages, and who is to ask whether they are signed, for each value of PackageSignatures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.template.translated import deployed, of_type

PACKAGE_MODEL = "PackageModelFunctionRole"
READERS = {
    f"{name}FunctionRole"
    for name in ("EvaluateShard", "PromoteModel", "RollbackModel", "Predict", "PredictBatchUnit")
}


def roles_that_may(action: str, template: dict[str, Any]) -> set[str]:
    """By policies of their own; the translated names of roles are the logical ones in small letters."""
    found = set()
    for policy in of_type(template, "AWS::IAM::Policy").values():
        if f'"{action}"' in json.dumps(policy["PolicyDocument"]):
            found |= set(policy["Roles"])
    return {name.lower() for name in found}


def key_of(template: dict[str, Any]) -> dict[str, Any] | None:
    keys = of_type(template, "AWS::KMS::Key")
    assert set(keys) <= {"SigningKey"}
    return keys.get("SigningKey")


def variables(template: dict[str, Any]) -> dict[str, str]:
    """SIGNING_KEY of each function that has one."""
    return {
        name: function["Environment"]["Variables"]["SIGNING_KEY"]
        for name, function in of_type(template, "AWS::Lambda::Function").items()
        if function.get("Environment", {}).get("Variables", {}).get("SIGNING_KEY")
    }


def test_by_default_there_is_no_key_to_be_paid_for() -> None:
    template = deployed()
    assert key_of(template) is None
    assert variables(template) == {}
    assert "kms:Sign" not in json.dumps(template["Resources"])


@pytest.mark.parametrize("value", ["write", "require"])
def test_the_key_lets_only_package_model_sign_and_nobody_hand_that_on(value: str) -> None:
    template = deployed({"PackageSignatures": value})
    key = key_of(template)
    assert key is not None
    assert (key["KeySpec"], key["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")
    assert template["Resources"]["SigningKey"]["DeletionPolicy"] == "Retain"
    statements = key["KeyPolicy"]["Statement"]
    signers = [one["Principal"]["AWS"] for one in statements if "kms:Sign" in one["Action"]]
    assert [str(signer).rpartition("/")[2].lower() for signer in signers] == [PACKAGE_MODEL.lower()]
    actions = {action for one in statements for action in one["Action"]}
    assert not {"kms:*", "kms:CreateGrant"} & actions
    assert roles_that_may("kms:Sign", template) == {PACKAGE_MODEL.lower()}


def test_signatures_are_asked_for_only_where_they_are_required() -> None:
    written, required = (deployed({"PackageSignatures": value}) for value in ("write", "require"))
    assert set(variables(written)) == {"PackageModelFunction"}
    assert roles_that_may("kms:Verify", written) == set()
    readers = {name.lower() for name in READERS}
    assert roles_that_may("kms:Verify", required) == readers
    asking = {f"{name}Role".lower() for name in variables(required)}
    assert asking == readers | {PACKAGE_MODEL.lower()}

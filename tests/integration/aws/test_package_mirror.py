"""SageMaker's model registry by our adapter, against moto with what it lacks; and that moto does lack it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from lehr.aws.package_mirror import SageMakerPackages
from lehr_local import model_packages

PREFIX = "lehr-1a2b3c4d-"
SOURCE = "s3://artifacts/models/mnist/v1/"
REASON = "accuracy 0.98,\n  better than the champion\x1b[0m; \u00b1 0.01"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    model_packages.install()
    try:
        with mock_aws():
            yield boto3.client("sagemaker", region_name="us-east-1")
    finally:
        model_packages.uninstall()


@pytest.fixture
def mirror(client: Any) -> SageMakerPackages:
    return SageMakerPackages(PREFIX, client)


def test_the_group_of_a_project_is_made_when_it_is_first_asked_for(
    mirror: SageMakerPackages, client: Any
) -> None:
    assert [mirror.packages("mnist") for _ in range(2)] == [[], []]
    (group,) = client.list_model_package_groups()["ModelPackageGroupSummaryList"]
    assert group["ModelPackageGroupName"] == "lehr-1a2b3c4d-mnist"


def test_packages_are_found_again_by_their_version_the_oldest_first(mirror: SageMakerPackages) -> None:
    assert mirror.packages("mnist") == []
    added = [mirror.add("mnist", f"v{number}", SOURCE, {"version": f"v{number}"}) for number in range(120)]
    assert mirror.packages("mnist") == added
    assert {package.status for package in added} == {"PendingManualApproval"}
    assert mirror.packages("mnist-2") == []


def test_a_package_says_where_it_lies_and_what_it_is_made_of(mirror: SageMakerPackages, client: Any) -> None:
    mirror.packages("mnist")
    made_of = {"version": "v1", "run": "r1", "odd": "a,b;c" + "x" * 300, "unknown": ""}
    package = mirror.add("mnist", "v1", SOURCE, made_of)
    described = client.describe_model_package(ModelPackageName=package.handle)
    assert described["SourceUri"] == SOURCE
    assert described["ModelPackageVersion"] == 1
    odd = "a_b_c" + "x" * 251
    assert described["CustomerMetadataProperties"] == {"version": "v1", "run": "r1", "odd": odd}
    assert "InferenceSpecification" not in described


def test_a_status_has_a_reason_and_what_is_known_by_then_and_keeps_the_rest(
    mirror: SageMakerPackages, client: Any
) -> None:
    mirror.packages("mnist")
    package = mirror.add("mnist", "v1", SOURCE, {"run": "r1"})
    assert not mirror.has_reason(package, REASON)
    mirror.set_status(package, "Approved", REASON, {"accuracy": "0.98"})
    assert mirror.has_reason(package, REASON)
    (listed,) = mirror.packages("mnist")
    assert listed.status == "Approved"
    described = client.describe_model_package(ModelPackageName=package.handle)
    assert described["ApprovalDescription"] == "accuracy 0.98, better than the champion[0m; \u00b1 0.01"
    assert described["CustomerMetadataProperties"] == {"run": "r1", "accuracy": "0.98"}
    mirror.set_status(package, "Rejected", "x" * 2000, {})
    described = client.describe_model_package(ModelPackageName=package.handle)
    assert (described["ModelApprovalStatus"], len(described["ApprovalDescription"])) == ("Rejected", 1024)
    assert described["CustomerMetadataProperties"] == {"run": "r1", "accuracy": "0.98"}
    assert mirror.has_reason(package, "x" * 2000)


def test_a_package_that_is_asked_for_twice_is_made_once(mirror: SageMakerPackages) -> None:
    mirror.packages("mnist")
    first = mirror.add("mnist", "v1", SOURCE, {"version": "v1"})
    assert mirror.add("mnist", "v1", SOURCE, {"version": "v1"}) == first
    assert mirror.packages("mnist") == [first]


def test_a_package_of_somebody_else_in_the_group_is_none_of_ours(
    mirror: SageMakerPackages, client: Any
) -> None:
    mirror.packages("mnist")
    for text in ("by hand", "v1 of others", ""):
        client.create_model_package(ModelPackageGroupName="lehr-1a2b3c4d-mnist", ModelPackageDescription=text)
    assert mirror.packages("mnist") == []


def test_what_is_refused_for_another_reason_than_a_missing_group_is_raised(monkeypatch: Any) -> None:
    class Forbidden:
        def describe_model_package_group(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeModelPackageGroup")

    with pytest.raises(ClientError, match="AccessDenied"):
        SageMakerPackages(PREFIX, Forbidden()).packages("mnist")


# --- what moto lacks


def test_a_group_that_is_there_is_not_replaced(mirror: SageMakerPackages, client: Any) -> None:
    mirror.packages("mnist")
    with pytest.raises(ClientError, match="already exists"):
        client.create_model_package_group(ModelPackageGroupName="lehr-1a2b3c4d-mnist")


def test_moto_itself_makes_a_second_package_and_forgets_properties_and_source(
    mirror: SageMakerPackages, client: Any
) -> None:
    """Negative control: once it does not, lehr_local.model_packages is needed no more."""
    model_packages.uninstall()
    mirror.packages("mnist")
    package = mirror.add("mnist", "v1", SOURCE, {"run": "r1"})
    mirror.add("mnist", "v1", SOURCE, {"run": "r1"})
    assert len(mirror.packages("mnist")) == 2
    mirror.set_status(package, "Approved", "better", {"accuracy": "0.98"})
    described = client.describe_model_package(ModelPackageName=package.handle)
    assert described["CustomerMetadataProperties"] == {"accuracy": "0.98"}
    assert "SourceUri" not in described
    client.create_model_package_group(ModelPackageGroupName="lehr-1a2b3c4d-mnist")

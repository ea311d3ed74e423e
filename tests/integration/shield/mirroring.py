"""A champion and what it has replaced, told to SageMaker's model registry, with packages that nobody has to train."""

from __future__ import annotations

import hashlib
from typing import Any

from lehr.aws.registry import DynamoModelRegistry
from lehr.aws.s3 import S3ObjectStore
from lehr.contracts.registry import ModelRecord
from tests.integration.shield.guarded_cloud import GuardedCloud
from tests.small_packages import publish_small_package


def mirrored(cloud: GuardedCloud, project: str) -> dict[str, Any]:
    """A version more is told of each time, and in the end none; after the first time the group is there."""
    place, outputs = cloud.place, cloud.place.outputs()
    registry = DynamoModelRegistry(place.cloud.table(outputs["RegistryTable"]))
    artifacts = S3ObjectStore(outputs["ArtifactBucket"], place.client("s3"))
    versions, answers = [], []
    for number in range(2):
        version = publish_small_package(artifacts, project, f"{project}-{number}".encode())
        record = ModelRecord(
            project=project,
            version=version,
            run=f"run-{number}",
            dataset_version="d",
            created_at=f"2026-01-01T00:00:0{number}.000Z",
            package_sha256=hashlib.sha256(version.encode()).hexdigest(),
        )
        registry.add_model(record)
        registry.promote(project, version, run=record.run, generation=number)
        versions.append(version)
        answers.append(_tell(cloud, project, versions))
    answers.append(_tell(cloud, project, versions))
    return {"answers": answers, "says": says(cloud, project)}


def says(cloud: GuardedCloud, project: str) -> list[str]:
    """How SageMaker's registry has the versions of a project, the oldest first."""
    sagemaker = cloud.place.client("sagemaker")
    groups = sagemaker.list_model_package_groups(NameContains=project)["ModelPackageGroupSummaryList"]
    names = [group["ModelPackageGroupName"] for group in groups]
    return [
        package["ModelApprovalStatus"]
        for name in names
        for package in sagemaker.list_model_packages(ModelPackageGroupName=name)["ModelPackageSummaryList"]
    ]


def _tell(cloud: GuardedCloud, project: str, versions: list[str]) -> list[int] | str:
    """The numbers of the versions that were added."""
    has_failed, answer = cloud.call("MirrorRegistry", {"project": project})
    return "failed" if has_failed else [versions.index(one) for one in answer["added"]]

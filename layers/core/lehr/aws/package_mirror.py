"""`PackageMirror` over SageMaker's model registry: a group for each project, a model package for each version.

A package over there has no inference specification. That one names an image which serves the model on SageMaker, and
Lehr's models are served by a function; a source and a specification are not taken together. The source is the folder
of the model package in S3.

Which package is which version is read from its description, which is written once: listing gives it, and metadata only
the description of each single one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from lehr.contracts.approval import ApprovalStatus
from lehr.ports import MirroredPackage

# What SageMaker says of a group that is not there.
_ABSENT = ("ValidationException", "ResourceNotFound")
_NEW: ApprovalStatus = "PendingManualApproval"
_MAX_TEXT, _MAX_VALUE, _MAX_TOKEN = 1024, 256, 36
_NOT_IN_VALUES = re.compile(r"[^\w .:/=+\-@]")


class SageMakerPackages:
    """Groups are named with a prefix that belongs to this stack alone."""

    def __init__(self, prefix: str, client: Any) -> None:
        self._prefix, self._client = prefix, client

    def packages(self, project: str) -> list[MirroredPackage]:
        """What is there of a project, the oldest first; makes the group if there is none."""
        group = self._prefix + project
        try:
            self._client.describe_model_package_group(ModelPackageGroupName=group)
        except ClientError as fault:
            if fault.response["Error"]["Code"] not in _ABSENT:
                raise
            about = (
                f"Model versions of {project}, as Lehr's registry has them: changes made here are taken back"
            )
            self._client.create_model_package_group(
                ModelPackageGroupName=group, ModelPackageGroupDescription=about
            )
            return []
        pages = self._client.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group,
            ModelPackageType="Versioned",
            SortBy="CreationTime",
            SortOrder="Ascending",
        )
        found = []
        for page in pages:
            for package in page["ModelPackageSummaryList"]:
                version, _, rest = str(package.get("ModelPackageDescription", "")).partition(" ")
                if rest == f"of {project}":  # else somebody else's
                    status = package["ModelApprovalStatus"]
                    handle = package["ModelPackageArn"]
                    found.append(MirroredPackage(version=version, handle=handle, status=status))
        return found

    def add(self, project: str, version: str, source: str, properties: Mapping[str, str]) -> MirroredPackage:
        """A package that is pending. Asked once more with the same, for a reply that was lost, SageMaker makes none."""
        group, status = self._prefix + project, _NEW
        answer = self._client.create_model_package(
            ModelPackageGroupName=group,
            ModelPackageDescription=f"{version} of {project}",
            SourceUri=source,
            ModelApprovalStatus=status,
            CustomerMetadataProperties=_values(properties),
            ClientToken=hashlib.sha256(f"{group}/{version}".encode()).hexdigest()[:_MAX_TOKEN],
        )
        return MirroredPackage(version=version, handle=answer["ModelPackageArn"], status=status)

    def set_status(
        self, package: MirroredPackage, status: ApprovalStatus, reason: str, properties: Mapping[str, str]
    ) -> None:
        """Say how a package stands, why, and what is known of it besides; earlier properties stay."""
        values = _values(properties)
        self._client.update_model_package(
            ModelPackageArn=package.handle,
            ModelApprovalStatus=status,
            ApprovalDescription=_line(reason),
            **({"CustomerMetadataProperties": values} if values else {}),
        )

    def has_reason(self, package: MirroredPackage, reason: str) -> bool:
        """Whether a package's approval is described so already."""
        described = self._client.describe_model_package(ModelPackageName=package.handle)
        return bool(described.get("ApprovalDescription", "") == _line(reason))


def _line(text: str) -> str:
    """A description has no control characters, and an end."""
    return "".join(each for each in " ".join(text.split()) if each.isprintable())[:_MAX_TEXT]


def _values(properties: Mapping[str, str]) -> dict[str, str]:
    """Of the characters that a property may have, and not empty."""
    return {name: _NOT_IN_VALUES.sub("_", value)[:_MAX_VALUE] for name, value in properties.items() if value}

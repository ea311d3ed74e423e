"""SageMaker's model registry where moto 5.2.5 is more lenient than AWS, or forgets what it is told.

moto makes a second model package for a ClientToken that it has seen, replaces a group that is there already with an
empty one, drops SourceUri, and takes the properties of an update for all that a package has. None of the four would
show a fault of whoever repeats a call whose reply was lost.
"""

from __future__ import annotations

import threading
from typing import Any

from moto.core.responses import ActionResult
from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.models import ModelPackage
from moto.sagemaker.responses import SageMakerResponse

_create_group = SageMakerResponse.create_model_package_group
_create = SageMakerResponse.create_model_package
_update = SageMakerResponse.update_model_package
_describe = ModelPackage.gen_response_object
_lock = threading.Lock()


def install() -> None:
    """From now on it does as AWS does. Idempotent."""
    SageMakerResponse.create_model_package_group = _create_group_once
    SageMakerResponse.create_model_package = _create_once
    SageMakerResponse.update_model_package = _update_what_is_named
    ModelPackage.gen_response_object = _described


def uninstall() -> None:
    """moto's own again, for tests of what it lacks."""
    SageMakerResponse.create_model_package_group = _create_group
    SageMakerResponse.create_model_package = _create
    SageMakerResponse.update_model_package = _update
    ModelPackage.gen_response_object = _describe


def _create_group_once(response: Any) -> ActionResult:
    name = response._get_param("ModelPackageGroupName")
    with _lock:
        if name in response.sagemaker_backend.model_package_groups:
            raise AWSValidationException(f"Model Package Group already exists: {name}")
        return _create_group(response)


def _create_once(response: Any) -> ActionResult:
    token, group = response._get_param("ClientToken"), response._get_param("ModelPackageGroupName")
    packages = response.sagemaker_backend.model_packages
    with _lock:
        for arn, package in packages.items():
            if token and (package.client_token, package.model_package_group_name) == (token, group):
                return ActionResult({"ModelPackageArn": arn})
        known = set(packages)
        created = _create(response)
        for arn in packages.keys() - known:
            packages[arn].source_uri = response._get_param("SourceUri")
        return created


def _update_what_is_named(response: Any) -> ActionResult:
    packages = response.sagemaker_backend.model_packages
    package = packages.get(response._get_param("ModelPackageArn"))
    with _lock:
        if package is None:
            return _update(response)
        before = dict(vars(package))
        updated = _update(response)
        for name, given in (
            ("model_approval_status", "ModelApprovalStatus"),
            ("approval_description", "ApprovalDescription"),
        ):
            if response._get_param(given) is None:
                setattr(package, name, before[name])
        earlier = dict(before["customer_metadata_properties"] or {})
        for name in response._get_param("CustomerMetadataPropertiesToRemove") or []:
            earlier.pop(name, None)
        package.customer_metadata_properties = earlier | (package.customer_metadata_properties or {})
        return updated


def _described(package: Any) -> dict[str, Any]:
    known: dict[str, Any] = _describe(package)
    source = getattr(package, "source_uri", None)
    return known | ({"SourceUri": source} if source else {})

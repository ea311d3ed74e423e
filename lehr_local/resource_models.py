"""What a resource of a stack is, and what creates one: the contract of all resource providers.

A provider turns the resolved `Properties` of one CloudFormation type into calls of that service's API. Most
properties carry the API's own names, so `fit` shapes them after botocore's description of the call and a
provider states only where the two differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.cloudformation.exceptions import UnformattedGetAttTemplateException

from lehr_local.service_clients import ServiceClients
from lehr_local.settings import LocalSettings

Properties = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Where a resource is created: the cloud, the stack, and the names it goes by there."""

    settings: LocalSettings
    clients: ServiceClients
    stack_name: str
    stack_id: str
    logical_id: str
    # The name property if the template gives one, else `<stack>-<logical id>-<random>`.
    generated_name: str

    def arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        region = self.settings.region if region is None else region
        return f"arn:aws:{service}:{region}:{self.settings.account_id}:{resource}"


@dataclass(frozen=True)
class Created:
    """What a provider gives back: the value of Ref, the values of GetAtt."""

    physical_id: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    # A sentence for the stack's events when the resource is accepted but does nothing here.
    note: str = ""


@dataclass(kw_only=True)
class Resource:
    """A resource that exists. The property names at the end are the ones moto reads."""

    type_name: str
    logical_id: str
    properties: Properties
    created: Created
    deletion_policy: str = "Delete"

    @property
    def physical_resource_id(self) -> str:
        return self.created.physical_id

    @property
    def logical_resource_id(self) -> str:
        return self.logical_id

    @property
    def cf_resource_type(self) -> str:
        return self.type_name

    def get_cfn_attribute(self, name: str) -> str:
        try:
            return self.created.attributes[name]
        except KeyError:
            raise UnformattedGetAttTemplateException() from None

    def is_created(self) -> bool:
        return True


class Provider:
    """Creates, updates and deletes resources of one type.

    `update` replaces by default: delete, then create. Providers whose resources hold data, or whose name others
    remember, override it.
    """

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        raise NotImplementedError

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        self.delete(deployment, resource)
        return self.create(deployment, properties)

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        raise NotImplementedError


def fit(client: Any, operation: str, properties: Mapping[str, Any], **extra: Any) -> dict[str, Any]:
    """`properties` as arguments of the API call `operation` (`CreateFunction`).

    Names match without regard to case; values take the type the API wants (CloudFormation also takes "30" for 30, a
    document for its JSON text, a list of Key/Value for a map). What the call does not know is left out. `extra` is
    added as it stands.
    """
    shape = client.meta.service_model.operation_model(operation).input_shape
    return {**_fit(shape, dict(properties)), **extra}


def _fit(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        members = {name.lower(): name for name in shape.members}
        return {
            members[key.lower()]: _fit(shape.members[members[key.lower()]], item)
            for key, item in value.items()
            if key.lower() in members
        }
    if kind == "list":
        return [_fit(shape.member, item) for item in (value if isinstance(value, list) else [value])]
    if kind == "map":
        return {str(key): _fit(shape.value, item) for key, item in as_map(value).items()}
    return _fit_scalar(kind, value)


def _fit_scalar(kind: str, value: Any) -> Any:
    if kind in ("integer", "long"):
        return int(value)
    if kind in ("float", "double"):
        return float(value)
    if kind == "boolean":
        return as_bool(value)
    if kind == "string":
        return as_text(value)
    return value


def as_bool(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def as_text(value: Any) -> str:
    """Text as CloudFormation would send it: documents as JSON, booleans in lower case."""
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def as_map(value: Any) -> dict[str, Any]:
    """Tags and similar, which templates write either as a map or as a list of Key and Value."""
    if isinstance(value, Mapping):
        return dict(value)
    return {item["Key"]: item["Value"] for item in value or []}


def without(properties: Mapping[str, Any], *names: str) -> Properties:
    return {key: value for key, value in properties.items() if key not in names}

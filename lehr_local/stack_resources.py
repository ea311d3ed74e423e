"""The resources of one stack: created, updated and deleted in the order of their references.

moto resolves references, parameters and conditions well and keeps doing so. Its own order of work does not: change
sets ignore `DependsOn`, an update ignores changed parameters in most places and deletes before it creates, and a
failure names no resource. This map replaces that part, through moto's `ResourceMap` interface.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable, Iterable
from typing import Any

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.parsing import ResourceMap, clean_json

from lehr_local.resource_models import Deployment, Properties, Resource
from lehr_local.resource_types import provider_of
from lehr_local.service_clients import ServiceClients
from lehr_local.settings import LocalSettings
from lehr_local.template_file import Template

# (logical id, type, physical id, status, reason)
EventRecorder = Callable[[str, str, str, str, str], None]


class ResourceFailed(Exception):
    """Raised when one resource cannot be created, updated or deleted; its text says which and why."""

    def __init__(self, logical_id: str, type_name: str, reason: str) -> None:
        super().__init__(f"{logical_id} ({type_name}): {reason}")


def references_of(node: Any) -> set[str]:
    """Every name that a piece of a template refers to: Ref, GetAtt, and `${…}` of Sub."""
    if isinstance(node, list):
        return set().union(*(references_of(item) for item in node))
    if not isinstance(node, dict):
        return set()
    found: set[str] = set()
    for key, value in node.items():
        if key == "Ref":
            found.add(value)
        elif key == "Fn::GetAtt":
            found.add(value[0])
        elif key == "Fn::Sub":
            text, own = value if isinstance(value, list) else (value, {})
            names = set(re.findall(r"\$\{([^!{}]+)\}", text)) - own.keys()
            found.update(name.split(".")[0] for name in names)
            found |= references_of(own)
        else:
            found |= references_of(value)
    return found


def dependency_order(resources: Template) -> list[str]:
    """Logical ids, each after what it refers to or names in DependsOn. Raises ValueError on a circle."""
    waits_for = {}
    for name, resource in resources.items():
        depends_on = resource.get("DependsOn", [])
        named = {depends_on} if isinstance(depends_on, str) else set(depends_on)
        waits_for[name] = (references_of(resource.get("Properties")) | named) & resources.keys()
    ordered: dict[str, None] = {}
    while len(ordered) < len(resources):
        ready = [name for name in resources if name not in ordered and waits_for[name] <= ordered.keys()]
        if not ready:
            circle = ", ".join(name for name in resources if name not in ordered)
            raise ValidationError(message=f"Circular dependency between resources: [{circle}]")
        ordered.update(dict.fromkeys(ready))
    return list(ordered)


def without_nothing(node: Any) -> Any:
    """Drop what `AWS::NoValue` left behind; moto drops it from maps, but leaves None in lists."""
    if isinstance(node, dict):
        return {key: without_nothing(value) for key, value in node.items() if value is not None}
    if isinstance(node, list):
        return [without_nothing(item) for item in node if item is not None]
    return node


class StackResources(ResourceMap):  # type: ignore[misc]
    """moto's map from names to resources, parameters and pseudo parameters, with an order of our own."""

    # Set on a subclass by lehr_local.cloudformation.install: moto constructs this class itself.
    settings: LocalSettings
    clients: ServiceClients
    resolved_parameters: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.record: EventRecorder = lambda *_: None
        self._is_deploying = False
        super().__init__(*args, **kwargs)

    # What moto reads

    def __getitem__(self, key: str) -> Any:
        if key in self._parsed_resources:
            return self._parsed_resources[key]
        if key not in self._resource_json_map:
            raise KeyError(key)
        # Outside a deployment (outputs of a stack that failed) nothing may come into being by being read.
        return self._create(key) if self._is_deploying else None

    @property
    def resources(self) -> Iterable[str]:
        """Only what exists: a resource under a false condition is no resource."""
        return [name for name in self._resource_json_map if name in self._parsed_resources]

    def of_type(self, type_name: str) -> list[Resource]:
        """The resources of one type that exist at this moment; none comes into being by it."""
        existing = list(self._parsed_resources.values())
        return [item for item in existing if isinstance(item, Resource) and item.type_name == type_name]

    def validate_outputs(self) -> None:
        known = self._resource_json_map.keys() | self._parsed_resources.keys()
        for name, output in (self._template.get("Outputs") or {}).items():
            for reference in references_of(output) - known:
                if not reference.startswith("AWS::"):
                    raise ValidationError(
                        message=f"Unresolved resource dependencies [{reference}] in the output {name}"
                    )

    def load_parameters(self) -> None:
        super().load_parameters()
        for name, slot in self._template.get("Parameters", {}).items():
            allowed = [str(value) for value in slot.get("AllowedValues", [])]
            if allowed and str(self.resolved_parameters[name]) not in allowed:
                raise ValidationError(
                    message=f"Parameter '{name}' must be one of AllowedValues [{', '.join(allowed)}]"
                )

    # What changes the world

    def create(self, template: Template) -> bool:
        self._template, self._resource_json_map = template, template["Resources"]
        self._deploy(lambda: [self[name] for name in dependency_order(self._resource_json_map)])
        return True

    def update(self, template: Template, parameters: dict[str, Any] | None = None) -> None:
        old_json_map = self._resource_json_map
        self._template, self._resource_json_map = template, template["Resources"]
        for name in self.resolved_parameters:
            self._parsed_resources.pop(name, None)
        self.resolved_parameters = {}
        if parameters is not None:
            self.input_parameters = parameters
        self.load()

        def apply() -> None:
            for name in dependency_order(self._resource_json_map):
                if name not in self._parsed_resources:
                    self._create(name)
                elif self._is_wanted(name):
                    self._update(name)
            for name in reversed(dependency_order({**old_json_map, **self._resource_json_map})):
                if name in self._parsed_resources and not self._is_wanted(name):
                    self._delete(name)

        self._deploy(apply)

    def delete(self) -> None:
        self._delete_all(keep_retained=True)

    def roll_back(self) -> None:
        """Delete all of a failed creation, retained or not: it holds nothing yet, and its names are needed."""
        self._delete_all(keep_retained=False)

    def _delete_all(self, *, keep_retained: bool) -> None:
        failures = []
        for name in reversed(dependency_order(self._resource_json_map)):
            if isinstance(self._parsed_resources.get(name), Resource):
                try:
                    self._delete(name, keep_retained=keep_retained)
                except ResourceFailed as error:
                    failures.append(error)
        if failures:
            raise failures[0]

    def _deploy(self, work: Callable[[], Any]) -> None:
        self._is_deploying = True
        try:
            work()
        finally:
            self._is_deploying = False

    def _is_wanted(self, name: str) -> bool:
        declaration = self._resource_json_map.get(name)
        if declaration is None:
            return False
        condition = declaration.get("Condition")
        return not condition or bool(self.lazy_condition_map[condition])

    def _create(self, name: str) -> Resource | None:
        if not self._is_wanted(name):
            return None
        declaration = self._resource_json_map[name]
        type_name = declaration["Type"]
        try:
            properties = self._properties(name)
            self.record(name, type_name, "", "CREATE_IN_PROGRESS", "")
            created = provider_of(type_name).create(self._deployment(name), properties)
        except ResourceFailed:
            raise
        except Exception as error:
            self.record(name, type_name, "", "CREATE_FAILED", str(error))
            raise ResourceFailed(name, type_name, str(error)) from error
        resource = Resource(
            type_name=type_name,
            logical_id=name,
            properties=properties,
            created=created,
            deletion_policy=declaration.get("DeletionPolicy", "Delete"),
        )
        self._parsed_resources[name] = resource
        self.record(name, type_name, created.physical_id, "CREATE_COMPLETE", created.note)
        return resource

    def _update(self, name: str) -> None:
        resource: Resource = self._parsed_resources[name]
        declaration = self._resource_json_map[name]
        type_name = declaration["Type"]
        try:
            properties = self._properties(name)
            resource.deletion_policy = declaration.get("DeletionPolicy", "Delete")
            if type_name != resource.type_name:
                self._delete(name)
                self._create(name)
                return
            if properties == resource.properties:
                return
            self.record(name, type_name, resource.physical_resource_id, "UPDATE_IN_PROGRESS", "")
            resource.created = provider_of(type_name).update(self._deployment(name), resource, properties)
            resource.properties = properties
        except ResourceFailed:
            raise
        except Exception as error:
            self.record(name, type_name, resource.physical_resource_id, "UPDATE_FAILED", str(error))
            raise ResourceFailed(name, type_name, str(error)) from error
        self.record(name, type_name, resource.physical_resource_id, "UPDATE_COMPLETE", resource.created.note)

    def _delete(self, name: str, *, keep_retained: bool = True) -> None:
        resource: Resource = self._parsed_resources[name]
        type_name, physical_id = resource.type_name, resource.physical_resource_id
        if keep_retained and resource.deletion_policy.startswith("Retain"):
            self.record(name, type_name, physical_id, "DELETE_SKIPPED", "")
        else:
            try:
                provider_of(type_name).delete(self._deployment(name), resource)
            except Exception as error:
                self.record(name, type_name, physical_id, "DELETE_FAILED", str(error))
                raise ResourceFailed(name, type_name, str(error)) from error
            self.record(name, type_name, physical_id, "DELETE_COMPLETE", "")
        del self._parsed_resources[name]

    def _properties(self, name: str) -> Properties:
        try:
            resolved = clean_json(self._resource_json_map[name].get("Properties") or {}, self)
        except KeyError as error:
            raise ValueError(f"It refers to {error}, which the template does not define.") from error
        properties: Properties = without_nothing(resolved)
        return properties

    def _deployment(self, name: str) -> Deployment:
        stack_name = str(self._parsed_resources["AWS::StackName"])
        alphabet = string.ascii_uppercase + string.digits
        suffix = "".join(secrets.choice(alphabet) for _ in range(12))
        return Deployment(
            settings=self.settings,
            clients=self.clients,
            stack_name=stack_name,
            stack_id=self.stack_id,
            logical_id=name,
            # Short enough, suffix included, for the 64 characters of a role or a function.
            generated_name=f"{stack_name[:20]}-{name[:30]}-{suffix}",
        )

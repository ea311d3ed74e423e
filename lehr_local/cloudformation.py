"""Make moto's CloudFormation take the project's template as AWS would.

`install` puts three classes of ours in the place of moto's (`Stack`, `ChangeSet`, `ResourceMap`) and wraps
`execute_change_set`. These four names are all that is touched of moto's CloudFormation; a contract test holds
each of them to what is relied on here. moto is pinned for this reason.

What changes for a caller: the SAM transform runs; resources are made through each service's own interface; each of them
leaves an event; a failed creation is rolled back to ROLLBACK_COMPLETE and a failed update to the former template.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from moto.cloudformation import models
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import ChangeSet, Stack
from moto.core.config import default_user_config

from lehr_local import sam_transform
from lehr_local.errors import LocalCloudError
from lehr_local.service_clients import ServiceClients
from lehr_local.settings import LocalSettings
from lehr_local.stack_resources import ResourceFailed, StackResources
from lehr_local.template_file import Template

_moto_execute_change_set = models.CloudFormationBackend.execute_change_set


def install(settings: LocalSettings) -> None:
    """Install the hooks for this process. Calling it again changes the settings and nothing else."""
    # The translator, and moto's interpreter, ask boto3's default session for the region.
    os.environ.setdefault("AWS_DEFAULT_REGION", settings.region)
    # Roles attach AWS managed policies by ARN; without this moto refuses those as unknown.
    default_user_config.setdefault("iam", {})["load_aws_managed_policies"] = True
    default_user_config.setdefault("stepfunctions", {})["execute_state_machine"] = True
    bound = {"settings": settings, "clients": ServiceClients(settings), "__module__": __name__}
    models.ResourceMap = type("BoundStackResources", (StackResources,), bound)
    models.Stack = LocalStack
    models.ChangeSet = LocalChangeSet
    models.CloudFormationBackend.execute_change_set = _execute_change_set


def _expanded(template_text: str, parameters: dict[str, Any]) -> Template:
    try:
        return sam_transform.expand(template_text, parameters)
    except LocalCloudError as error:
        raise ValidationError(message=str(error)) from error


class LocalStack(Stack):  # type: ignore[misc]
    """A stack whose template is expanded, whose resources leave events and whose failures are rolled back."""

    template: str
    resource_map: StackResources

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # moto parses the template before it keeps the parameters, and the transform needs both.
        self.parameters = kwargs["parameters"]
        self.status = "REVIEW_IN_PROGRESS"
        super().__init__(*args, **kwargs)
        self.resource_map.record = self._record

    def _parse_template(self) -> None:
        self.template_dict = _expanded(self.template, self.parameters)

    def has_template(self, other_template: str) -> bool:
        return bool(self.template == other_template)

    @property
    def outputs(self) -> list[dict[str, Any]] | None:
        return super().outputs if self._has_outputs() else None

    @property
    def exports(self) -> list[Any]:
        return super().exports if self._has_outputs() else []

    def _has_outputs(self) -> bool:
        """Outputs are worked out once all resources exist, not (as in moto) before the first one does."""
        return self.status in (
            "CREATE_COMPLETE",
            "UPDATE_COMPLETE",
            "UPDATE_ROLLBACK_COMPLETE",
            "DELETE_FAILED",
        )

    def create_resources(self) -> None:
        self.status = "CREATE_IN_PROGRESS"
        try:
            self.resource_map.create(self.template_dict)
            self.status = "CREATE_COMPLETE"
            self._finish("CREATE_COMPLETE")
        except (ResourceFailed, ValidationError) as error:
            self._roll_back_creation(error)

    def update(
        self,
        template: str,
        role_arn: str | None = None,
        parameters: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """Change the stack to `template`; a creation when the stack has none yet (a first change set)."""
        is_creation = self.status == "REVIEW_IN_PROGRESS"
        new_parameters = self.parameters if parameters is None else parameters
        new_template = _expanded(template, new_parameters)
        old = (self.template, self.template_dict, self.parameters)
        self._add_stack_event("CREATE_IN_PROGRESS" if is_creation else "UPDATE_IN_PROGRESS", "User Initiated")
        self.status = "CREATE_IN_PROGRESS" if is_creation else "UPDATE_IN_PROGRESS"
        self.template, self.template_dict, self.parameters = template, new_template, new_parameters
        self.description = new_template.get("Description")
        if tags is not None:
            self.tags = tags
        try:
            self.resource_map.update(new_template, new_parameters)
        except (ResourceFailed, ValidationError) as error:
            if is_creation:
                self._roll_back_creation(error)
            else:
                self._roll_back_update(error, *old)
            return
        self._finish("CREATE_COMPLETE" if is_creation else "UPDATE_COMPLETE")

    def delete(self) -> None:
        self._add_stack_event("DELETE_IN_PROGRESS", "User Initiated")
        try:
            self.resource_map.delete()
        except ResourceFailed as error:
            self.status = "DELETE_FAILED"
            self._add_stack_event("DELETE_FAILED", str(error))
            # moto has already taken the stack out of its list; on AWS it stays, to be tried again.
            models.cloudformation_backends[self.account_id][self.region_name].stacks[self.stack_id] = self
            raise ValidationError(message=f"The stack {self.name} could not be deleted: {error}") from error
        self.status = "DELETE_COMPLETE"
        self._add_stack_event("DELETE_COMPLETE")

    def _roll_back_creation(self, error: Exception) -> None:
        self._add_stack_event("ROLLBACK_IN_PROGRESS", str(error))
        try:
            self.resource_map.roll_back()
            self.status = "ROLLBACK_COMPLETE"
        except ResourceFailed as second:
            self.status = "ROLLBACK_FAILED"
            error = second
        self._add_stack_event(self.status, str(error))

    def _roll_back_update(
        self, error: Exception, template: str, template_dict: Template, parameters: dict[str, Any]
    ) -> None:
        self._add_stack_event("UPDATE_ROLLBACK_IN_PROGRESS", str(error))
        self.template, self.template_dict, self.parameters = template, template_dict, parameters
        try:
            self.resource_map.update(template_dict, parameters)
            self._finish("UPDATE_ROLLBACK_COMPLETE")
        except (ResourceFailed, ValidationError) as second:
            self.status = "UPDATE_ROLLBACK_FAILED"
            self._add_stack_event("UPDATE_ROLLBACK_FAILED", str(second))

    def _finish(self, status: str) -> None:
        self.status = status
        self.output_map = self._create_output_map()
        backend = models.cloudformation_backends[self.account_id][self.region_name]
        for export in self.exports:
            backend.exports[export.name] = export
        self._add_stack_event(status)

    def _record(self, logical_id: str, type_name: str, physical_id: str, status: str, reason: str) -> None:
        self.events.append(
            models.Event(
                stack_id=self.stack_id,
                stack_name=self.name,
                logical_resource_id=logical_id,
                physical_resource_id=physical_id,
                resource_type=type_name,
                resource_status=status,
                resource_status_reason=reason or None,
                resource_properties=None,
            )
        )


class LocalChangeSet(ChangeSet):  # type: ignore[misc]
    """A change set whose template is expanded and which is applied as an update of its stack."""

    stack: LocalStack

    def _parse_template(self) -> None:
        self.template_dict = _expanded(self.template, self.parameters)

    def apply(self) -> None:
        self.stack.update(self.template, self.role_arn, self.parameters, self.tags)


@functools.wraps(_moto_execute_change_set)
def _execute_change_set(
    backend: models.CloudFormationBackend, change_set_name: str, stack_name: str | None = None
) -> None:
    """As moto's, but the change set leaves the state its application ended in, not always `…_COMPLETE`."""
    change_set = backend.describe_change_set(change_set_name)
    change_set.apply()
    is_done = change_set.stack.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    change_set.execution_status = "EXECUTE_COMPLETE" if is_done else "EXECUTE_FAILED"


__all__ = ["LocalChangeSet", "LocalStack", "install"]

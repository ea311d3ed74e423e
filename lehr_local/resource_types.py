"""Which CloudFormation types the local cloud takes, and how: for real, through moto, or as a note.

A type that is not listed here fails the deployment by name. Accepting what nobody simulates would make a local pass
mean less than it says.
"""

from __future__ import annotations

import logging
from typing import Any

from moto.cloudformation import parsing

from lehr_local import (
    api_gateway,
    batch_resources,
    compute_resources,
    identity_resources,
    key_resources,
    messaging_resources,
    schedule_resources,
    storage_resources,
)
from lehr_local.resource_models import Created, Deployment, Properties, Provider, Resource

log = logging.getLogger(__name__)

# Accepted, recorded in the stack's events, and without any effect.
NOT_SIMULATED = {
    "AWS::ApplicationAutoScaling::ScalableTarget": "functions and tables do not scale",
    "AWS::ApplicationAutoScaling::ScalingPolicy": "functions and tables do not scale",
    "AWS::Budgets::Budget": "nothing here costs money",
    "AWS::CloudWatch::AnomalyDetector": "no metric is evaluated",
    "AWS::CloudWatch::CompositeAlarm": "no metric is evaluated",
    "AWS::CodeDeploy::Application": "an alias moves at once, without a canary",
    "AWS::CodeDeploy::DeploymentGroup": "an alias moves at once, without a canary",
    "AWS::Lambda::Url": "functions are reached through the HTTP API",
    "AWS::Logs::ResourcePolicy": "every service may write logs",
    "AWS::Logs::QueryDefinition": "logs cannot be queried",
    "AWS::Scheduler::Schedule": "nothing happens by the clock",
    "AWS::StepFunctions::StateMachineAlias": "executions start on the state machine itself",
    "AWS::StepFunctions::StateMachineVersion": "executions start on the state machine itself",
    "AWS::WAFv2::WebACL": "requests are not filtered",
    "AWS::WAFv2::WebACLAssociation": "requests are not filtered",
    "AWS::XRay::Group": "traces are not kept",
    "AWS::XRay::SamplingRule": "traces are not kept",
}

SIMULATED: dict[str, Provider] = {
    **api_gateway.PROVIDERS,
    **batch_resources.PROVIDERS,
    **compute_resources.PROVIDERS,
    **identity_resources.PROVIDERS,
    **key_resources.PROVIDERS,
    **messaging_resources.PROVIDERS,
    **schedule_resources.PROVIDERS,
    **storage_resources.PROVIDERS,
}


class NotSimulated(Provider):
    """Stands for a resource that does nothing here; Ref and every attribute have a plausible form."""

    def __init__(self, type_name: str) -> None:
        self._type_name = type_name

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        note = f"{self._type_name} is not simulated: {NOT_SIMULATED[self._type_name]}."
        log.warning("%s: %s", deployment.logical_id, note)
        name = deployment.generated_name
        service = self._type_name.split("::")[1].lower()
        return Created(name, {"Arn": deployment.arn(service, name), "Name": name, "Id": name}, note)

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        """There is nothing to delete."""


class MotoResource(Provider):
    """A type that moto's own CloudFormation supports and that we add nothing to."""

    def __init__(self, type_name: str) -> None:
        self._type_name = type_name
        self._model = parsing.get_model_map()[type_name]

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        name_property = self._model.cloudformation_name_type()
        name = properties.get(name_property) or deployment.generated_name
        model = self._model.create_from_cloudformation_json(
            name,
            {"Type": self._type_name, "Properties": properties},
            deployment.settings.account_id,
            deployment.settings.region,
            LogicalId=deployment.logical_id,
            StackId=deployment.stack_id,
            ResourceType=self._type_name,
        )
        return MotoCreated(str(model.physical_resource_id), model)

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        self.delete(deployment, resource)
        return self.create(deployment, properties)

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        self._model.delete_from_cloudformation_json(
            resource.physical_resource_id,
            {"Type": self._type_name, "Properties": resource.properties},
            deployment.settings.account_id,
            deployment.settings.region,
        )


class MotoCreated(Created):
    """Attributes of a moto model are computed when they are asked for."""

    def __init__(self, physical_id: str, model: Any) -> None:
        super().__init__(physical_id, _MotoAttributes(model))


class _MotoAttributes(dict[str, str]):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def __missing__(self, name: str) -> str:
        return str(self._model.get_cfn_attribute(name))


def provider_of(type_name: str) -> Provider:
    """The provider of a type. Raises ValueError, in a sentence that names the type, when there is none."""
    if type_name in SIMULATED:
        return SIMULATED[type_name]
    if type_name in NOT_SIMULATED:
        return NotSimulated(type_name)
    if type_name in parsing.get_model_map():
        return MotoResource(type_name)
    raise ValueError(f"The local cloud does not simulate resources of type {type_name}.")

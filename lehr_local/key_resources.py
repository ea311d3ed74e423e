"""Keys in KMS that a template makes, of any kind: moto's own CloudFormation makes symmetric ones only."""

from __future__ import annotations

from lehr_local.resource_models import (
    Created,
    Deployment,
    Properties,
    Provider,
    Resource,
    as_bool,
    as_text,
    fit,
    without,
)

_IN_PLACE = ("KeyPolicy", "Description", "Tags", "EnableKeyRotation", "PendingWindowInDays")


class Key(Provider):
    """`AWS::KMS::Key`. Its policy is kept and not asked: the policies of the roles decide here."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        kms = deployment.clients("kms")
        wanted = {name: value for name, value in properties.items() if name != "Tags"}
        made = kms.create_key(**fit(kms, "CreateKey", wanted, Policy=as_text(properties["KeyPolicy"])))
        name = made["KeyMetadata"]["KeyId"]
        self._configure(deployment, name, properties)
        return Created(name, {"Arn": made["KeyMetadata"]["Arn"], "KeyId": name})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        if without(properties, *_IN_PLACE) != without(resource.properties, *_IN_PLACE):
            return self.create(deployment, properties)  # what it has signed or encrypted is not lost
        kms, name = deployment.clients("kms"), resource.physical_resource_id
        kms.put_key_policy(KeyId=name, PolicyName="default", Policy=as_text(properties["KeyPolicy"]))
        kms.update_key_description(KeyId=name, Description=properties.get("Description", ""))
        self._configure(deployment, name, properties)
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        days = int(resource.properties.get("PendingWindowInDays", 30))
        deployment.clients("kms").schedule_key_deletion(
            KeyId=resource.physical_resource_id, PendingWindowInDays=days
        )

    def _configure(self, deployment: Deployment, name: str, properties: Properties) -> None:
        if as_bool(properties.get("EnableKeyRotation", False)):
            deployment.clients("kms").enable_key_rotation(KeyId=name)


PROVIDERS: dict[str, Provider] = {"AWS::KMS::Key": Key()}

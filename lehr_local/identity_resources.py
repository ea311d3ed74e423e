"""What a template may do: roles and policies, with their documents, so that they can be evaluated."""

from __future__ import annotations

from typing import Any

from lehr_local.resource_models import (
    Created,
    Deployment,
    Properties,
    Provider,
    Resource,
    as_text,
    fit,
    without,
)


def _document(policy: Any) -> str:
    """A policy as JSON text. AWS takes one without a Version, moto does not."""
    return as_text({"Version": "2012-10-17", **policy} if isinstance(policy, dict) else policy)


class Role(Provider):
    """`AWS::IAM::Role`. Inline and attached policies follow the template on update."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        iam = deployment.clients("iam")
        name = properties.get("RoleName") or deployment.generated_name[:64]
        role = iam.create_role(**fit(iam, "CreateRole", properties, RoleName=name))["Role"]
        self._grant(deployment, name, properties)
        return Created(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        old, name = resource.properties, resource.physical_resource_id
        if any(properties.get(key) != old.get(key) for key in ("RoleName", "Path")):
            return super().update(deployment, resource, properties)
        iam = deployment.clients("iam")
        iam.update_assume_role_policy(
            RoleName=name, PolicyDocument=as_text(properties["AssumeRolePolicyDocument"])
        )
        self._revoke(deployment, name, old)
        self._grant(deployment, name, properties)
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        iam = deployment.clients("iam")
        name = resource.physical_resource_id
        # Policies of their own (AWS::IAM::Policy) are deleted as resources, before the role.
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            iam.delete_role_policy(RoleName=name, PolicyName=policy)
        for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
        iam.delete_role(RoleName=name)

    def _grant(self, deployment: Deployment, name: str, properties: Properties) -> None:
        iam = deployment.clients("iam")
        for policy in properties.get("Policies", []):
            iam.put_role_policy(
                RoleName=name,
                PolicyName=policy["PolicyName"],
                PolicyDocument=_document(policy["PolicyDocument"]),
            )
        for arn in properties.get("ManagedPolicyArns", []):
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)

    def _revoke(self, deployment: Deployment, name: str, properties: Properties) -> None:
        iam = deployment.clients("iam")
        for policy in properties.get("Policies", []):
            iam.delete_role_policy(RoleName=name, PolicyName=policy["PolicyName"])
        for arn in properties.get("ManagedPolicyArns", []):
            iam.detach_role_policy(RoleName=name, PolicyArn=arn)


class Policy(Provider):
    """`AWS::IAM::Policy` and `AWS::IAM::RolePolicy`: an inline policy of roles that stands on its own."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        iam = deployment.clients("iam")
        for role in _roles(properties):
            iam.put_role_policy(
                RoleName=role,
                PolicyName=properties["PolicyName"],
                PolicyDocument=_document(properties["PolicyDocument"]),
            )
        return Created(properties["PolicyName"], {"Id": properties["PolicyName"]})

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        for role in _roles(resource.properties):
            deployment.clients("iam").delete_role_policy(
                RoleName=role, PolicyName=resource.properties["PolicyName"]
            )


def _roles(properties: Properties) -> list[Any]:
    return [*properties.get("Roles", []), *([properties["RoleName"]] if "RoleName" in properties else [])]


class ManagedPolicy(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        iam = deployment.clients("iam")
        name = properties.get("ManagedPolicyName") or deployment.generated_name
        arguments = fit(iam, "CreatePolicy", without(properties, "Tags"), PolicyName=name)
        arn = iam.create_policy(**arguments)["Policy"]["Arn"]
        for role in properties.get("Roles", []):
            iam.attach_role_policy(RoleName=role, PolicyArn=arn)
        return Created(arn, {"PolicyArn": arn})

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        iam = deployment.clients("iam")
        arn = resource.physical_resource_id
        for role in iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]:
            iam.detach_role_policy(RoleName=role["RoleName"], PolicyArn=arn)
        iam.delete_policy(PolicyArn=arn)


class InstanceProfile(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        iam = deployment.clients("iam")
        name = properties.get("InstanceProfileName") or deployment.generated_name
        arguments = fit(iam, "CreateInstanceProfile", properties, InstanceProfileName=name)
        profile = iam.create_instance_profile(**arguments)["InstanceProfile"]
        for role in properties["Roles"]:
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
        return Created(name, {"Arn": profile["Arn"]})

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        iam = deployment.clients("iam")
        name = resource.physical_resource_id
        for role in resource.properties["Roles"]:
            iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role)
        iam.delete_instance_profile(InstanceProfileName=name)


PROVIDERS: dict[str, Provider] = {
    "AWS::IAM::Role": Role(),
    "AWS::IAM::Policy": Policy(),
    "AWS::IAM::RolePolicy": Policy(),
    "AWS::IAM::ManagedPolicy": ManagedPolicy(),
    "AWS::IAM::InstanceProfile": InstanceProfile(),
}

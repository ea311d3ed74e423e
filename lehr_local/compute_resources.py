"""What runs code in a template: functions with their layers and permissions, and state machines."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

from lehr_local.resource_models import (
    Created,
    Deployment,
    Properties,
    Provider,
    Resource,
    as_map,
    as_text,
    fit,
    without,
)
from lehr_local.template_file import parse_document


class Function(Provider):
    """`AWS::Lambda::Function`: an update changes the code and the configuration of the one that exists."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        client = deployment.clients("lambda")
        name = properties.get("FunctionName") or deployment.generated_name[:64]
        arguments = fit(client, "CreateFunction", without(properties, "Code", "SnapStart"), FunctionName=name)
        arn = client.create_function(**arguments, Code=_code(properties))["FunctionArn"]
        self._reserve(deployment, name, properties)
        return Created(name, {"Arn": arn})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        if properties.get("FunctionName") != resource.properties.get("FunctionName"):
            return super().update(deployment, resource, properties)
        client = deployment.clients("lambda")
        name = resource.physical_resource_id
        if properties.get("Code") != resource.properties.get("Code"):
            client.update_function_code(FunctionName=name, **_code(properties))
        # A property that left the template goes back to its default.
        defaults: Properties = {
            "Environment": {"Variables": {}},
            "Layers": [],
            "Description": "",
            "LoggingConfig": {},
        }
        wanted = {**defaults, **without(properties, "Code", "SnapStart")}
        client.update_function_configuration(
            **fit(client, "UpdateFunctionConfiguration", wanted, FunctionName=name)
        )
        self._reserve(deployment, name, properties)
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("lambda").delete_function(FunctionName=resource.physical_resource_id)

    def _reserve(self, deployment: Deployment, name: str, properties: Properties) -> None:
        if "ReservedConcurrentExecutions" in properties:
            deployment.clients("lambda").put_function_concurrency(
                FunctionName=name,
                ReservedConcurrentExecutions=int(properties["ReservedConcurrentExecutions"]),
            )


def _code(properties: Properties) -> dict[str, Any]:
    code = properties["Code"]
    if "ZipFile" not in code:
        return {key: code[key] for key in ("S3Bucket", "S3Key", "S3ObjectVersion", "ImageUri") if key in code}
    # In a template ZipFile is the source text of index.py; in the API it is a zip.
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("index.py", code["ZipFile"])
    return {"ZipFile": archive.getvalue()}


class LayerVersion(Provider):
    """`AWS::Lambda::LayerVersion`: Ref is the ARN of the version, and every change publishes the next one."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        client = deployment.clients("lambda")
        name = properties.get("LayerName") or deployment.generated_name[:64]
        arguments = fit(client, "PublishLayerVersion", properties, LayerName=name)
        arn = client.publish_layer_version(**arguments)["LayerVersionArn"]
        return Created(arn, {"LayerVersionArn": arn})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        # The old version stays: functions that still name it must find it until they are updated.
        return self.create(deployment, {"LayerName": _layer_name(resource), **properties})

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("lambda").delete_layer_version(
            LayerName=_layer_name(resource),
            VersionNumber=int(resource.physical_resource_id.rsplit(":", 1)[1]),
        )


def _layer_name(resource: Resource) -> str:
    return resource.physical_resource_id.split(":")[6]


class Permission(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        client = deployment.clients("lambda")
        statement = deployment.generated_name
        client.add_permission(**fit(client, "AddPermission", properties, StatementId=statement))
        return Created(statement, {"Id": statement})

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("lambda").remove_permission(
            FunctionName=resource.properties["FunctionName"], StatementId=resource.physical_resource_id
        )


class EventSourceMapping(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        client = deployment.clients("lambda")
        # moto takes the tags of a mapping for tags of a function.
        arguments = fit(client, "CreateEventSourceMapping", without(properties, "Tags"))
        uuid = client.create_event_source_mapping(**arguments)["UUID"]
        return Created(
            uuid,
            {"Id": uuid, "EventSourceMappingArn": deployment.arn("lambda", f"event-source-mapping:{uuid}")},
        )

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("lambda").delete_event_source_mapping(UUID=resource.physical_resource_id)


class EventInvokeConfig(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        client = deployment.clients("lambda")
        client.put_function_event_invoke_config(
            **fit(client, "PutFunctionEventInvokeConfig", without(properties, "Qualifier"))
        )
        return Created(deployment.generated_name)

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("lambda").delete_function_event_invoke_config(
            FunctionName=resource.properties["FunctionName"]
        )


class Version(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        client = deployment.clients("lambda")
        version = client.publish_version(FunctionName=properties["FunctionName"])
        return Created(
            version["FunctionArn"], {"Version": version["Version"], "FunctionArn": version["FunctionArn"]}
        )

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        return self.create(deployment, properties)

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("lambda").delete_function(
            FunctionName=resource.properties["FunctionName"], Qualifier=resource.created.attributes["Version"]
        )


class Alias(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        client = deployment.clients("lambda")
        arn = client.create_alias(**fit(client, "CreateAlias", without(properties, "RoutingConfig")))[
            "AliasArn"
        ]
        return Created(arn, {"AliasArn": arn})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        if any(properties[name] != resource.properties[name] for name in ("FunctionName", "Name")):
            return super().update(deployment, resource, properties)
        client = deployment.clients("lambda")
        client.update_alias(**fit(client, "UpdateAlias", without(properties, "RoutingConfig")))
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("lambda").delete_alias(
            FunctionName=resource.properties["FunctionName"], Name=resource.properties["Name"]
        )


class StateMachine(Provider):
    """`AWS::StepFunctions::StateMachine`, with the definition inline or in S3 and its substitutions made."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        client = deployment.clients("stepfunctions")
        name = properties.get("StateMachineName") or deployment.generated_name[:80]
        arguments = fit(
            client,
            "CreateStateMachine",
            without(properties, "Definition", "Tags", "StateMachineName"),
            name=name,
            definition=definition_text(deployment, properties),
            tags=[{"key": key, "value": str(value)} for key, value in as_map(properties.get("Tags")).items()],
        )
        if "StateMachineType" in properties:
            arguments["type"] = properties["StateMachineType"]
        arn = client.create_state_machine(**arguments)["stateMachineArn"]
        return Created(arn, {"Arn": arn, "Name": name})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        if any(
            properties.get(name) != resource.properties.get(name)
            for name in ("StateMachineName", "StateMachineType")
        ):
            return super().update(deployment, resource, properties)
        client = deployment.clients("stepfunctions")
        arguments = fit(
            client,
            "UpdateStateMachine",
            without(properties, "Definition"),
            stateMachineArn=resource.physical_resource_id,
            definition=definition_text(deployment, properties),
        )
        client.update_state_machine(**arguments)
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("stepfunctions").delete_state_machine(
            stateMachineArn=resource.physical_resource_id
        )


def definition_text(deployment: Deployment, properties: Properties) -> str:
    """The Amazon States Language as JSON, each `${Name}` replaced.

    Plain text replacement, as AWS does it: `Fn::Sub` would also touch `$$.`, the context object.
    """
    if "DefinitionS3Location" in properties:
        where = properties["DefinitionS3Location"]
        version = {"VersionId": where["Version"]} if where.get("Version") else {}
        s3 = deployment.clients("s3")
        body = s3.get_object(Bucket=where["Bucket"], Key=where["Key"], **version)["Body"].read().decode()
        text = json.dumps(parse_document(body))
    elif "DefinitionString" in properties:
        text = as_text(properties["DefinitionString"])
    else:
        text = json.dumps(properties["Definition"])
    for name, value in properties.get("DefinitionSubstitutions", {}).items():
        # Inside a JSON string the value's own quotes and backslashes must not end it.
        text = text.replace("${" + name + "}", json.dumps(as_text(value))[1:-1])
    left = re.search(r"\$\{[A-Za-z0-9_]+\}", text)
    if left:
        raise ValueError(f"The definition uses {left.group()}, which DefinitionSubstitutions does not give.")
    return text


PROVIDERS: dict[str, Provider] = {
    "AWS::Lambda::Function": Function(),
    "AWS::Lambda::LayerVersion": LayerVersion(),
    "AWS::Lambda::Permission": Permission(),
    "AWS::Lambda::EventSourceMapping": EventSourceMapping(),
    "AWS::Lambda::EventInvokeConfig": EventInvokeConfig(),
    "AWS::Lambda::Version": Version(),
    "AWS::Lambda::Alias": Alias(),
    "AWS::StepFunctions::StateMachine": StateMachine(),
}

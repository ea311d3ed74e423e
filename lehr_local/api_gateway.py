"""HTTP APIs of a template: created in moto's apigatewayv2, read back by the HTTPS front.

moto gives every API an address at amazonaws.com where nobody listens; here the address is the front's.
`deployed_apis` is the only place that reads moto's apigatewayv2 objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from moto.apigatewayv2.models import apigatewayv2_backends

from lehr_local.resource_models import (
    Created,
    Deployment,
    Properties,
    Provider,
    Resource,
    as_map,
    fit,
    without,
)
from lehr_local.settings import LocalSettings
from lehr_local.throttle import ACCOUNT_BURST, ACCOUNT_RATE, ThrottleSettings

SERVICE = "apigatewayv2"


@dataclass(frozen=True)
class HttpRoute:
    """One route of an API and the function behind it (None when its integration is no Lambda function)."""

    route_key: str
    authorization_type: str
    function_name: str | None
    timeout_s: float
    payload_format_version: str


@dataclass(frozen=True)
class HttpApi:
    api_id: str
    stage: str
    routes: tuple[HttpRoute, ...]
    throttle: ThrottleSettings = field(default_factory=ThrottleSettings)


def api_endpoint(settings: LocalSettings, api_id: str) -> str:
    """The first API is plain `localhost`; any other one is told by its host name."""
    first = next(iter(_backend_apis(settings)), api_id)
    host = "localhost" if first == api_id else f"{api_id}.localhost"
    return f"https://{host}:{settings.https_port}"


def deployed_apis(settings: LocalSettings) -> list[HttpApi]:
    """The HTTP APIs that exist now, oldest first. An API without a stage answers nothing, as on AWS."""
    apis = []
    for api in list(_backend_apis(settings).values()):
        stage = next(iter(api.stages.values()), None)
        if api.protocol_type != "HTTP" or stage is None:
            continue
        routes = []
        for route in list(api.routes.values()):
            integration = api.integrations.get((route.target or "").removeprefix("integrations/"))
            timeout_ms = (integration.timeout_in_millis if integration else None) or 30_000
            routes.append(
                HttpRoute(
                    route_key=route.route_key,
                    authorization_type=route.authorization_type or "NONE",
                    function_name=_function_name(integration.integration_uri) if integration else None,
                    timeout_s=timeout_ms / 1000,
                    payload_format_version=(integration.payload_format_version if integration else None)
                    or "1.0",
                )
            )
        apis.append(HttpApi(api.api_id, stage.name, tuple(routes), _throttle(stage.default_route_settings)))
    return apis


def _throttle(settings: dict[str, Any] | None) -> ThrottleSettings:
    """What DefaultRouteSettings say."""
    given = settings or {}
    return ThrottleSettings(
        rate=float(given.get("throttlingRateLimit", ACCOUNT_RATE)),
        burst=int(given.get("throttlingBurstLimit", ACCOUNT_BURST)),
    )


def _backend_apis(settings: LocalSettings):  # type: ignore[no-untyped-def]
    return apigatewayv2_backends[settings.account_id][settings.region].apis


def _function_name(integration_uri: str | None) -> str | None:
    """The function of either form: its ARN, or `arn:aws:apigateway:…/functions/<ARN>/invocations`."""
    _, marker, rest = (integration_uri or "").rpartition(":function:")
    return rest.removesuffix("/invocations").split(":")[0] if marker else None


class Api(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        for unsupported in ("Body", "BodyS3Location"):
            if unsupported in properties:
                raise ValueError(
                    f"AWS::ApiGatewayV2::Api with {unsupported} is not simulated; name its routes as resources."
                )
        client = deployment.clients(SERVICE)
        arguments = fit(client, "CreateApi", properties, ProtocolType=properties.get("ProtocolType", "HTTP"))
        api_id = client.create_api(**arguments)["ApiId"]
        endpoint = api_endpoint(deployment.settings, api_id)
        _backend_apis(deployment.settings)[api_id].api_endpoint = endpoint
        note = "CorsConfiguration is not simulated: browsers may call from anywhere but read nothing."
        return Created(
            api_id,
            {"ApiId": api_id, "ApiEndpoint": endpoint},
            note if "CorsConfiguration" in properties else "",
        )

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        client = deployment.clients(SERVICE)
        wanted = without(properties, "Tags", "ProtocolType")
        client.update_api(**fit(client, "UpdateApi", wanted, ApiId=resource.physical_resource_id))
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients(SERVICE).delete_api(ApiId=resource.physical_resource_id)


class PartOfApi(Provider):
    """A thing inside an API that is created, updated and deleted by `<Verb><Noun>` calls alike."""

    def __init__(self, noun: str, id_name: str, note: str = "") -> None:
        self._noun = noun
        self._id_name = id_name
        self._note = note

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        client = deployment.clients(SERVICE)
        wanted = dict(properties)
        if "Tags" in wanted:
            wanted["Tags"] = as_map(wanted["Tags"])
        call = getattr(client, f"create_{self._noun.lower()}")
        physical_id = call(**fit(client, f"Create{self._noun}", wanted))[self._id_name]
        return Created(physical_id, {self._id_name: physical_id}, self._note)

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        moved = properties["ApiId"] != resource.properties["ApiId"]
        if moved or self._noun == "Stage":  # moto has no UpdateStage
            return super().update(deployment, resource, properties)
        client = deployment.clients(SERVICE)
        call = getattr(client, f"update_{self._noun.lower()}")
        call(**fit(client, f"Update{self._noun}", properties), **self._id(resource))
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        client = deployment.clients(SERVICE)
        if any(api["ApiId"] == resource.properties["ApiId"] for api in client.get_apis()["Items"]):
            call = getattr(client, f"delete_{self._noun.lower()}")
            call(ApiId=resource.properties["ApiId"], **self._id(resource))

    def _id(self, resource: Resource) -> dict[str, str]:
        return {self._id_name: resource.physical_resource_id}


PROVIDERS: dict[str, Provider] = {
    "AWS::ApiGatewayV2::Api": Api(),
    "AWS::ApiGatewayV2::Integration": PartOfApi("Integration", "IntegrationId"),
    "AWS::ApiGatewayV2::Route": PartOfApi("Route", "RouteId"),
    "AWS::ApiGatewayV2::Stage": PartOfApi("Stage", "StageName"),
    "AWS::ApiGatewayV2::Authorizer": PartOfApi(
        "Authorizer",
        "AuthorizerId",
        "AWS::ApiGatewayV2::Authorizer is not simulated: the routes that it guards answer 401.",
    ),
}

"""HTTP APIs of the local cloud, for tests of what is in front of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FUNCTION_ARN = "arn:aws:lambda:us-east-1:123456789012:function:predict"


def create_api(
    client: Any,
    name: str,
    routes: Mapping[str, str],
    *,
    uri: str = FUNCTION_ARN,
    stage: Mapping[str, Any] | None = None,
) -> str:
    """An API whose `routes`, keys with their kinds of authorisation, all lead to one function; returns its id."""
    api_id = str(client.create_api(Name=name, ProtocolType="HTTP")["ApiId"])
    client.create_stage(ApiId=api_id, StageName="$default", **(stage or {}))
    integration = client.create_integration(
        ApiId=api_id, IntegrationType="AWS_PROXY", IntegrationUri=uri, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    for key, authorization in routes.items():
        client.create_route(
            ApiId=api_id, RouteKey=key, AuthorizationType=authorization, Target=f"integrations/{integration}"
        )
    return api_id

"""X-Ray of the local cloud: nothing is traced, but what tracing needs of a role is asked for."""

from __future__ import annotations

import contextlib

from lehr_local.authority import AccessDeniedError, Authority

_ACTIONS = ("xray:PutTraceSegments", "xray:PutTelemetryRecords")


def demand_tracing(authority: Authority, role_arn: str) -> None:
    """Ask for what sending traces needs. A denial is recorded and harms nobody, as on AWS."""
    for action in _ACTIONS:
        with contextlib.suppress(AccessDeniedError):
            authority.demand(role_arn, action, "*")

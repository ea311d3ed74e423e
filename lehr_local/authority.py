"""Who acts, and whether they may: what every part of the local cloud asks before it acts for a role.

Normally everybody acts as the user and may do everything. With `--enforce-iam` the shield takes this place: each
role gets a key of its own, and what a part does inside this process, on AWS a call under some role, is asked
for here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

USER_KEY_ID = "local"

# A WSGI application.
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
ContextValue = str | tuple[str, ...]
Context = Mapping[str, ContextValue]


class AccessDeniedError(Exception):
    """Raised when a policy does not allow what is asked for; its text is AWS's sentence."""


class Authority(Protocol):
    def key_of(self, role_arn: str) -> str:
        """The access key id with which a process acts as this role."""

    def demand(self, role_arn: str, action: str, resource: str, context: Context | None = None) -> None:
        """Raise AccessDeniedError unless the policies of the role allow the action on the resource."""

    def demand_for_service(self, service: str, action: str, resource: str, context: Context) -> None:
        """The same for a service of AWS (`events.amazonaws.com`), judged by the policy of the resource."""

    def guarded(self, application: Application) -> Application:
        """The application behind whatever judges the requests that it receives."""


class NoAuthority:
    """Everybody is the user and may do everything."""

    def key_of(self, role_arn: str) -> str:
        return USER_KEY_ID

    def demand(self, role_arn: str, action: str, resource: str, context: Context | None = None) -> None:
        pass

    def demand_for_service(self, service: str, action: str, resource: str, context: Context) -> None:
        pass

    def guarded(self, application: Application) -> Application:
        return application

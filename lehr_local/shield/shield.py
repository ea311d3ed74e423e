"""The shield: every request to the local cloud passes it, and is judged by the policies that are deployed.

It stands in front of moto, which knows the policies and evaluates too little of them: resources of most services
and conditions are ignored, and its own Step Functions could call nothing. What on AWS is a call under a role and
here happens inside this process (messages that are received for a function, logs, child executions) is asked for
through the methods of `Authority`.

    GET    /lehr/shield/calls    every judgement so far, as JSON; DELETE forgets them
    POST   /lehr/shield/faults   a fault for calls to come (the fields of `Fault`); DELETE forgets those left
"""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from lehr_local.authority import AccessDeniedError, Application, Context
from lehr_local.shield.faults import Fault, FaultPlan
from lehr_local.shield.policies import Demand, decide, denies_everybody
from lehr_local.shield.principals import Principals, UnknownKeyError, key_of_role
from lehr_local.shield.record import USER, CallRecord, Judgement
from lehr_local.shield.replies import Reply, denial, error
from lehr_local.shield.requests import ApiCall, HttpCall, classify, signer_of
from lehr_local.shield.s3_requests import listing, place_of
from lehr_local.tracing import demand_tracing

logger = logging.getLogger(__name__)

OWN_PATH = "/lehr/shield/"
_LOG_DELIVERY = (
    *("logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery"),
    *("logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies"),
    "logs:DescribeLogGroups",
)
_REASONS = {
    "not allowed": "because no identity-based policy allows the {action} action",
    "explicitly denied": "with an explicit deny in an identity-based policy",
}
_DENIED_BY_RESOURCE = "with an explicit deny in a resource-based policy"


class Shield:
    """The authority of a local cloud in which roles count. `is_enforcing` can be switched at any time."""

    def __init__(self, account_id: str, region: str, *, is_enforcing: bool = True) -> None:
        self.is_enforcing = is_enforcing
        self.record = CallRecord()
        self.faults = FaultPlan()
        self._account_id = account_id
        self._region = region
        self._principals = Principals(account_id, region)

    def key_of(self, role_arn: str) -> str:
        return key_of_role(role_arn)

    def demand(self, role_arn: str, action: str, resource: str, context: Context | None = None) -> None:
        self._judge(role_arn.rpartition("/")[2], Demand(action, resource, context or {}))

    def demand_for_service(self, service: str, action: str, resource: str, context: Context) -> None:
        full = {"aws:SourceAccount": self._account_id, "aws:SecureTransport": "true", **context}
        demand = Demand(action, resource, full)
        outcome = decide(self._principals.resource_documents(resource), demand, service=service)
        self.record.add(Judgement(service, action, resource, outcome, full))
        if outcome != "allowed" and self.is_enforcing:
            raise self._denied(
                f"User: {service}", demand, "because no resource-based policy allows the {action} action"
            )

    def guarded(self, application: Application) -> Application:
        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            return self._answer(application, environ, start_response)

        return answer

    def _answer(
        self, application: Application, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        if path.startswith(OWN_PATH):
            return _send(self._own_answer(path, environ), start_response)
        if path.startswith("/moto-api"):
            return application(environ, start_response)
        call = _received(environ, path)
        principals = self._principals
        api_call = classify(call, self._account_id, principals.partition_key_of, principals.machine_of_token)
        try:
            actor = self._actor_of(api_call)
            for demand in api_call.demands:
                self._judge(actor, demand)
            self._judge_entrusted_role(api_call)
        except UnknownKeyError:
            text = "The security token included in the request is invalid."
            return _send(
                error(api_call.service, call.method, "InvalidClientTokenId", text, 403), start_response
            )
        except AccessDeniedError as refusal:
            return _send(denial(api_call.service, call.method, str(refusal)), start_response)
        fault = self.faults.take(actor, [demand.action for demand in api_call.demands])
        if (
            fault is not None
            and (reply := self._suffer(fault, api_call, call, application, environ)) is not None
        ):
            return _send(reply, start_response)
        if api_call.service == "s3" and actor != USER and call.method in ("GET", "HEAD"):
            return self._read_from_s3(actor, call, application, environ, start_response)
        return application(environ, start_response)

    def _actor_of(self, call: ApiCall) -> str:
        if call.access_key_id is None:
            raise UnknownKeyError("")
        role = self._principals.role_of(call.access_key_id)
        return USER if role is None else role

    def _judge(self, actor: str, demand: Demand) -> None:
        """Judge, record and, when enforcing, refuse one demand of a role; the user is an administrator."""
        if actor == USER:
            self.record.add(Judgement(USER, demand.action, demand.resource, "allowed"))
            return
        tags = self._principals.tags_of(demand.resource)
        context = {**self._principals.context_of(actor), **tags, **demand.context}
        full = Demand(demand.action, demand.resource, context)
        outcome = decide(self._principals.documents_of(actor), full)
        reason = _REASONS.get(outcome, "")
        if outcome == "allowed" and denies_everybody(
            self._principals.resource_documents(demand.resource), full
        ):
            outcome, reason = "explicitly denied", _DENIED_BY_RESOURCE
        self.record.add(Judgement(actor, demand.action, demand.resource, outcome, context))
        if outcome != "allowed" and self.is_enforcing:
            user = f"User: arn:aws:sts::{self._account_id}:assumed-role/{actor}/local"
            raise self._denied(user, demand, reason)

    def _denied(self, who: str, demand: Demand, reason: str) -> AccessDeniedError:
        because = reason.format(action=demand.action)
        text = f"{who} is not authorized to perform: {demand.action} on resource: {demand.resource} {because}"
        logger.warning("denied: %s", text)
        return AccessDeniedError(text)

    def _judge_entrusted_role(self, call: ApiCall) -> None:
        """What Step Functions asks of the role of a state machine besides its tasks: to deliver logs and traces."""
        if call.service != "states":
            return
        if call.operation == "StartExecution":
            machine = self._principals.state_machine(str(call.parameters.get("stateMachineArn", "")))
            if machine is not None and (machine.tracing_config or {}).get("enabled"):
                demand_tracing(self, machine.role_arn)
            return
        if call.operation not in ("CreateStateMachine", "UpdateStateMachine"):
            return
        logging_level = (call.parameters.get("loggingConfiguration") or {}).get("level", "OFF")
        if logging_level == "OFF":
            return
        machine = self._principals.state_machine(str(call.parameters.get("stateMachineArn", "")))
        role = call.parameters.get("roleArn") or getattr(machine, "role_arn", "")
        for action in _LOG_DELIVERY:
            self.demand(str(role), action, "*")

    def _suffer(
        self,
        fault: Fault,
        api_call: ApiCall,
        call: HttpCall,
        application: Application,
        environ: dict[str, Any],
    ) -> Reply | None:
        """The reply that a fault makes; None if the call goes on."""
        logger.warning("fault: %s of %s", fault.kind, api_call.operation)
        if fault.kind == "delay":
            time.sleep(fault.delay_s)
            return None
        if fault.kind == "lost_reply":
            # The call is carried out, and its caller never learns how it went.
            _consume(application(environ, lambda *_: None))
        return error(api_call.service, call.method, fault.code, "injected", fault.status)

    def _read_from_s3(
        self,
        actor: str,
        call: HttpCall,
        application: Application,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
    ) -> Iterable[bytes]:
        """A missing key is a secret: who may not list the bucket is told that access is denied."""
        started: list[tuple[Any, ...]] = []
        body = application(environ, lambda *arguments: started.append(arguments))
        bucket, key = place_of(call.path, call.headers.get("host", ""))
        if key and started[0][0].startswith("404"):
            try:
                self._judge(actor, listing(bucket, key))
            except AccessDeniedError:
                _consume(body)
                return _send(denial("s3", call.method, "Access Denied"), start_response)
        start_response(*started[0])
        return body

    def _own_answer(self, path: str, environ: dict[str, Any]) -> Reply:
        method, name = environ["REQUEST_METHOD"], path.removeprefix(OWN_PATH)
        if (method, name) == ("GET", "calls"):
            return _json_reply({"calls": self.record.documents()})
        if (method, name) == ("DELETE", "calls"):
            self.record.clear()
        elif (method, name) == ("POST", "faults"):
            length = int(environ.get("CONTENT_LENGTH") or 0)
            self.faults.add(Fault(**json.loads(environ["wsgi.input"].read(length))))
        elif (method, name) == ("DELETE", "faults"):
            self.faults.clear()
        else:
            return _json_reply({"message": f"The shield has nothing at {method} {path}."}, "404 Not Found")
        return _json_reply({"landed_faults": self.faults.landed})


def _received(environ: dict[str, Any], path: str) -> HttpCall:
    """The request; its body only where the body says what is asked, since an upload may be large."""
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    query = environ.get("QUERY_STRING", "")
    signer = signer_of(headers, query)
    is_object = signer is not None and signer[2] == "s3" and "delete" not in query
    body = b""
    if not is_object:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
    return HttpCall(environ["REQUEST_METHOD"], path, query, headers, body)


def _send(reply: Reply, start_response: Callable[..., Any]) -> list[bytes]:
    start_response(reply.status, list(reply.headers))
    return [reply.body]


def _json_reply(document: Any, status: str = "200 OK") -> Reply:
    body = json.dumps(document).encode()
    return Reply(status, (("Content-Type", "application/json"), ("Content-Length", str(len(body)))), body)


def _consume(body: Iterable[bytes]) -> None:
    for _ in body:
        pass
    close = getattr(body, "close", None)
    if close is not None:
        close()

"""HTTPS in front of the functions: what API Gateway is to a deployed HTTP API.

It serves whatever HTTP APIs CloudFormation has created in moto, and looks them up on each request: a stack deployed
or deleted a moment ago is what answers. The sockets are `https_server`'s part, the rules of HTTP APIs `http_api`'s.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Protocol

from lehr_local.api_gateway import HttpApi, HttpRoute, deployed_apis
from lehr_local.authority import AccessDeniedError
from lehr_local.certificates import ensure_certificate
from lehr_local.function_pool import Throttled
from lehr_local.http_api import (
    HttpRequest,
    HttpResponse,
    MalformedResponse,
    build_event,
    match_route,
    message,
    parse_result,
    route_path,
)
from lehr_local.https_server import MAX_CONNECTIONS, HttpsServer
from lehr_local.request_signature import SignatureRefused, verify_signature
from lehr_local.settings import ACCESS_KEY_ID, SECRET_ACCESS_KEY, LocalSettings
from lehr_local.throttle import Throttles, retry_after

log = logging.getLogger(__name__)

# API Gateway's own limit for the integration of an HTTP API.
MAX_TIMEOUT_S = 30.0
# Ours: requests that are answered at this moment or wait for a process of their function.
MAX_REQUESTS = 100


class Invocation(Protocol):
    """What a function answered; `error` is None when it returned normally."""

    @property
    def payload(self) -> bytes: ...

    @property
    def error(self) -> str | None: ...


Invoke = Callable[[str, bytes], Invocation]


class HttpsFront:
    """Serves the deployed HTTP APIs on `settings.https_port`, where a socket listens already.

    `invoke(function_name, payload)` runs a function and waits for it.
    """

    def __init__(self, settings: LocalSettings, invoke: Invoke) -> None:
        self._settings = settings
        self._invoke = invoke
        self._invocations = ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="https-invoke")
        self._throttles = Throttles()
        self._places = threading.BoundedSemaphore(MAX_REQUESTS)
        self._server: HttpsServer | None = None

    def start(self, listener: socket.socket) -> None:
        """Serve at `listener` until `close`, which closes it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(ensure_certificate(self._settings))
        self._server = HttpsServer(listener, context, self.respond)
        threading.Thread(target=self._server.serve_forever, name="https-front", daemon=True).start()

    def close(self) -> None:
        """Stop to accept; requests that are being served get no answer."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self._invocations.shutdown(wait=False, cancel_futures=True)

    def respond(self, request: HttpRequest) -> HttpResponse:
        """The answer to one request, whoever gives it: API Gateway's rules or the function."""
        found = self._find(request)
        if found is None:
            return message(404, "Not Found")
        api = found[0]
        # Before the signature is looked at: what is refused should cost nothing.
        wait_s = self._throttles.take(api.api_id, api.throttle)
        if wait_s:
            return too_many_requests(wait_s)
        if not self._places.acquire(blocking=False):
            log.warning("%d requests wait already", MAX_REQUESTS)
            return too_many_requests(1)
        try:
            return self._respond(request, *found)
        finally:
            self._places.release()

    def _respond(
        self, request: HttpRequest, api: HttpApi, route: HttpRoute, path_parameters: dict[str, str]
    ) -> HttpResponse:
        caller = None
        if route.authorization_type == "AWS_IAM":
            try:
                caller = self._caller(request)
            except SignatureRefused as error:
                log.info("%s %s refused: %s", request.method, request.raw_path, error)
                return message(403, "Forbidden")
        elif route.authorization_type != "NONE":
            log.warning("authorizers of type %s are not simulated", route.authorization_type)
            return message(401, "Unauthorized")
        request_id = str(uuid.uuid4())
        event = build_event(
            request,
            api,
            route,
            path_parameters=path_parameters,
            account_id=self._settings.account_id,
            request_id=request_id,
            now=datetime.now(UTC),
            caller=caller,
        )
        if not self._is_permitted(api, route):
            return message(500, "Internal Server Error")
        response = self._call(route, json.dumps(event).encode())
        return HttpResponse(
            response.status, [*response.headers, ("apigw-requestid", request_id)], response.body
        )

    def _find(self, request: HttpRequest) -> tuple[HttpApi, HttpRoute, dict[str, str]] | None:
        apis = deployed_apis(self._settings)
        prefix = request.header("host").partition(".")[0]
        # The first API is localhost itself; the others are told by their host name.
        for api in [api for api in apis if api.api_id == prefix] or apis[:1]:
            path = route_path(api, request.raw_path)
            matched = None if path is None else match_route(api.routes, request.method, path)
            if matched is not None:
                return api, *matched
        return None

    def _caller(self, request: HttpRequest) -> dict[str, Any]:
        key_id = verify_signature(
            request, key_id=ACCESS_KEY_ID, secret=SECRET_ACCESS_KEY, region=self._settings.region
        )
        account_id = self._settings.account_id
        return {
            "accessKey": key_id,
            "accountId": account_id,
            "callerId": account_id,
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": f"arn:aws:iam::{account_id}:root",
            "userId": account_id,
        }

    def _is_permitted(self, api: HttpApi, route: HttpRoute) -> bool:
        """Whether the function lets this API invoke it (`AWS::Lambda::Permission`)."""
        place = f"{self._settings.region}:{self._settings.account_id}"
        source = f"arn:aws:execute-api:{place}:{api.api_id}/{api.stage}/{route.route_key.replace(' ', '')}"
        function = f"arn:aws:lambda:{place}:function:{route.function_name}"
        try:
            self._settings.authority.demand_for_service(
                "apigateway.amazonaws.com", "lambda:InvokeFunction", function, {"aws:SourceArn": source}
            )
        except AccessDeniedError as error:
            log.error("%s: %s", route.route_key, error)
            return False
        return True

    def _call(self, route: HttpRoute, payload: bytes) -> HttpResponse:
        if route.function_name is None or route.payload_format_version != "2.0":
            log.error("%s: only Lambda integrations of payload format 2.0 are simulated", route.route_key)
            return message(500, "Internal Server Error")
        future = self._invocations.submit(self._invoke, route.function_name, payload)
        try:
            result = future.result(timeout=min(route.timeout_s, MAX_TIMEOUT_S))
            if result.error is None:
                return parse_result(result.payload)
            log.error("%s: the function failed: %s", route.route_key, result.payload.decode(errors="replace"))
        except TimeoutError:
            future.cancel()  # one that still waits for a thread has nobody to answer any more
            log.error("%s: %s did not answer in time", route.route_key, route.function_name)
            return message(503, "Service Unavailable")
        except Throttled:
            log.error("%s: no process of %s became free", route.route_key, route.function_name)
            return message(503, "Service Unavailable")
        except MalformedResponse as error:
            log.error("%s: %s", route.route_key, error)
        except Exception:
            log.exception("%s: %s could not be invoked", route.route_key, route.function_name)
        return message(500, "Internal Server Error")


def too_many_requests(wait_s: float) -> HttpResponse:
    """API Gateway's answer to a request beyond the limits, and when to come again, which API Gateway does not say."""
    refused = message(429, "Too Many Requests")
    return HttpResponse(
        refused.status, [*refused.headers, ("retry-after", retry_after(wait_s))], refused.body
    )

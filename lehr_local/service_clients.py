"""boto3 clients whose requests are answered inside this process.

CloudFormation creates resources by calling each service's public interface. Ours does the same, through
boto3: no moto backend is touched, so what a template creates is what a user's own call would create. The
calls bypass the socket because they happen while the server is already answering one (`CreateStack`): a lock
around writes, or a single worker, would otherwise wait for itself.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.test import Client

from lehr_local.settings import ACCESS_KEY_ID, SECRET_ACCESS_KEY, LocalSettings


class _Body(io.BytesIO):
    """What botocore expects of a urllib3 body, besides `read`."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


class ServiceClients:
    """One cached client per service: `clients("sqs").create_queue(...)`."""

    def __init__(self, settings: LocalSettings) -> None:
        self._endpoint_url = settings.endpoint_url
        self._session = boto3.Session(
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            region_name=settings.region,
        )
        self._application = settings.authority.guarded(DomainDispatcherApplication(create_backend_app))
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                client = self._session.client(
                    service,
                    endpoint_url=self._endpoint_url,
                    config=Config(retries={"total_max_attempts": 1}, inject_host_prefix=False),
                )
                client.meta.events.register_last("before-send.*.*", self._answer)
                self._clients[service] = client
            return self._clients[service]

    def _answer(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        url = urlsplit(request.url)
        body = request.body.read() if hasattr(request.body, "read") else request.body
        headers = [
            (name, value.decode() if isinstance(value, bytes) else str(value))
            for name, value in request.headers.items()
        ]
        response = Client(self._application).open(
            path=url.path,
            query_string=url.query,
            base_url=f"{url.scheme}://{url.netloc}",
            method=request.method,
            headers=headers,
            data=body,
        )
        return AWSResponse(
            request.url, response.status_code, dict(response.headers), _Body(response.get_data())
        )

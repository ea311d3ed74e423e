"""Whose requests these are: the environment's keys, or the credentials that Lambda hands out after a restore.

With SnapStart there are no keys in the environment, since they would be part of the snapshot and expire with it;
Lambda gives an address to ask instead, as ECS does:
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from lehr.aws.signature import Credentials
from lehr.errors import ConfigurationError

# The addresses that may be asked without TLS: this machine's own, and those of ECS and EKS.
_PLAIN_HOSTS = {"localhost", "127.0.0.1", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"}
_TIMEOUT_S = 2.0
_RENEW_S = 300.0
_MAX_ANSWER_BYTES = 1 << 16


class _Answer(msgspec.Struct):
    access_key: str = msgspec.field(name="AccessKeyId")
    secret_key: str = msgspec.field(name="SecretAccessKey")
    token: str = msgspec.field(name="Token", default="")
    expiration: datetime | None = msgspec.field(name="Expiration", default=None)


class CredentialSource:
    """Gives the credentials in force. The environment is read each time; what was fetched is kept until it ages."""

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._clock = clock
        self._fetched: tuple[float, Credentials] | None = None

    def forget(self) -> None:
        """Fetch anew the next time, as after a restore."""
        self._fetched = None

    def current(self) -> Credentials:
        """Raises ConfigurationError if the environment names no credentials, OSError if they cannot be fetched."""
        access_key = self._environ.get("AWS_ACCESS_KEY_ID")
        secret_key = self._environ.get("AWS_SECRET_ACCESS_KEY")
        if access_key and secret_key:
            token = self._environ.get("AWS_SESSION_TOKEN", "")
            return Credentials(access_key=access_key, secret_key=secret_key, token=token)
        fetched = self._fetched
        if fetched and self._clock() < fetched[0] - _RENEW_S:
            return fetched[1]
        answer = self._fetch()
        credentials = Credentials(
            access_key=answer.access_key, secret_key=answer.secret_key, token=answer.token
        )
        if answer.expiration:
            self._fetched = (answer.expiration.timestamp(), credentials)
        return credentials

    def _fetch(self) -> _Answer:
        uri = self._environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if not uri:
            raise ConfigurationError(
                "neither AWS_ACCESS_KEY_ID nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set"
            )
        parts = urlsplit(uri)
        host = parts.hostname or ""
        if parts.scheme != "https" and host not in _PLAIN_HOSTS:
            raise ConfigurationError(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor of this machine"
            )
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(host, parts.port, timeout=_TIMEOUT_S)
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers=self._authorization())
            answer = connection.getresponse()
            raw = answer.read(_MAX_ANSWER_BYTES)
        except http.client.HTTPException as fault:
            raise ConnectionError(f"credentials: {type(fault).__name__}") from fault
        finally:
            connection.close()
        if answer.status != 200:
            raise ConnectionError(f"credentials: HTTP {answer.status}")
        try:
            return msgspec.json.decode(raw, type=_Answer)
        except msgspec.MsgspecError as fault:
            raise ConnectionError("credentials: not the document that they should be") from fault

    def _authorization(self) -> dict[str, str]:
        token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        file = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        if file:
            token = Path(file).read_text().strip()
        return {"Authorization": token} if token else {}

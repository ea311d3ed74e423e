"""What the endpoint reads, without boto3: model packages and names of projects from S3, champions from DynamoDB.

They answer as the adapters over boto3 do (`lehr.aws.s3`, `lehr.aws.registry`), in the little that serving needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from lehr.aws.credentials import CredentialSource
from lehr.aws.endpoints import configured_url, service_host
from lehr.aws.items import champion_key, from_item
from lehr.aws.signed_http import ServiceError, SignedHttp
from lehr.contracts.registry import Alias
from lehr.errors import ConfigurationError

if TYPE_CHECKING:
    from lehr.ports import Sink

_MAX_ITEM_BYTES = 1 << 20


class S3Reader:
    """Objects of one bucket, each read whole or up to a limit, and the folders in it."""

    def __init__(self, bucket: str, http: SignedHttp, prefix: str) -> None:
        self.bucket, self._http, self._prefix = bucket, http, prefix

    def get_start(self, key: str, count: int) -> bytes:
        """The first `count` bytes (fewer if the object is shorter). Raises KeyError if absent."""
        try:
            answer = self._http.send(
                "GET", self._path(key), {"range": f"bytes=0-{count - 1}"}, max_bytes=count
            )
        except ServiceError as fault:
            if fault.status == 416:
                return b""
            if fault.status == 404:
                raise KeyError(self.uri(key)) from fault
            raise
        return answer.body

    def get_into(self, key: str, count: int, sink: Sink) -> None:
        """Write the first `count` bytes to `sink` piece by piece. Raises KeyError if absent."""
        try:
            self._http.send(
                "GET", self._path(key), {"range": f"bytes=0-{count - 1}"}, max_bytes=count, into=sink
            )
        except ServiceError as fault:
            if fault.status == 404:
                raise KeyError(self.uri(key)) from fault
            if fault.status != 416:
                raise

    def exists(self, key: str) -> bool:
        try:
            self._http.send("HEAD", self._path(key), max_bytes=0)
        except ServiceError as fault:
            if fault.status == 404:
                return False
            raise
        return True

    def folders(self, prefix: str) -> Iterator[str]:
        """The names directly under `prefix` that have something below them, in order; `prefix` ends with a slash.

        Each page of a thousand is asked for when it is needed. Raises ValueError for an answer that is no listing.
        """
        # A parser of XML is only imported for who lists.
        from lehr.aws.listing import MAX_PAGE_BYTES, folders_query, parse_folders

        token = ""
        while True:
            path = f"{self._prefix or '/'}?{folders_query(prefix, token)}"
            page = parse_folders(self._http.send("GET", path, max_bytes=MAX_PAGE_BYTES).body)
            for name in page.prefixes:
                yield name.removeprefix(prefix).removesuffix("/")
            token = page.next_token
            if not token:
                return

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def close(self) -> None:
        """Drop idle connections and credentials, as after a restore."""
        self._http.close()

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{quote(key, safe='/')}"


class ChampionReader:
    """The alias of each project, read consistently."""

    def __init__(self, table: str, http: SignedHttp) -> None:
        self._table, self._http = table, http

    def alias(self, project: str) -> Alias | None:
        key = {name: {"S": value} for name, value in champion_key(project).items()}
        body = msgspec.json.encode({"TableName": self._table, "Key": key, "ConsistentRead": True})
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": "DynamoDB_20120810.GetItem",
        }
        answer = self._http.send("POST", "/", headers, body, max_bytes=_MAX_ITEM_BYTES)
        item = msgspec.json.decode(answer.body, type=dict[str, Any]).get("Item")
        if not item:
            return None
        return from_item({name: _value(typed) for name, typed in item.items()}, Alias)

    def close(self) -> None:
        """Drop idle connections and credentials, as after a restore."""
        self._http.close()


def open_readers(
    bucket: str, table: str, environ: Mapping[str, str] = os.environ
) -> tuple[S3Reader, ChampionReader]:
    """Both readers, of the region, the endpoint and the credentials that the environment gives."""
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if not region:
        raise ConfigurationError("AWS_REGION is not set")
    credentials = CredentialSource(environ)
    s3_url = configured_url("s3", environ)
    prefix = f"/{bucket}"
    if not s3_url:
        host = service_host("s3", region)
        # A name with a dot does not fit the certificate, so it stays in the path.
        s3_url, prefix = (f"https://{host}", prefix) if "." in bucket else (f"https://{bucket}.{host}", "")
    table_url = configured_url("dynamodb", environ) or f"https://{service_host('dynamodb', region)}"
    return (
        S3Reader(bucket, SignedHttp("s3", s3_url, region, credentials), prefix),
        ChampionReader(table, SignedHttp("dynamodb", table_url, region, credentials)),
    )


def _value(typed: dict[str, Any]) -> Any:
    """A plain value of DynamoDB's JSON: {"N": "7"} is 7. Raises ValueError for a type that no alias has."""
    ((kind, value),) = typed.items()
    if kind == "N":
        return float(value) if any(mark in value for mark in ".eE") else int(value)
    if kind == "NULL":
        return None
    if kind in {"S", "BOOL"}:
        return value
    raise ValueError(f"an attribute of type {kind}")

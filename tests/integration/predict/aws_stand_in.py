"""S3 and DynamoDB as far as the endpoint reads them, over real sockets, with the faults that networks have."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from tests.fakes import InMemoryObjectStore, InMemoryRegistry


class AwsStandIn:
    """Serves a bucket and the aliases of a registry. `hang_s` delays every answer; `faults` are statuses of the next.

    `requests` counts what arrived, `connections` how many were opened; `arrived` is set by each request.
    """

    def __init__(self, store: InMemoryObjectStore, registry: InMemoryRegistry) -> None:
        self.store, self.registry = store, registry
        self.hang_s = 0.0
        self.faults: list[tuple[int, bytes]] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.connections = 0
        self.arrived = threading.Event()
        self._sockets: set[Any] = set()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                owner.connections += 1
                owner._sockets.add(self.connection)

            def finish(self) -> None:
                owner._sockets.discard(self.connection)
                super().finish()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

            def answer(self) -> None:
                try:
                    owner._answer(self)
                except OSError:
                    self.close_connection = True

            do_GET = do_HEAD = do_POST = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """What a process needs to ask here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }

    def drop_connections(self) -> None:
        """Close what is kept alive, as a service does with a connection that has been idle."""
        import socket

        for one in list(self._sockets):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def stop(self) -> None:
        """From now on connections are refused."""
        self._server.shutdown()
        self._server.server_close()
        self.drop_connections()

    def _answer(self, request: Any) -> None:
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.command, request.path, headers))
        self.arrived.set()
        if self.hang_s:
            time.sleep(self.hang_s)
        if self.faults:
            status, raw = self.faults.pop(0)
        elif request.command == "POST":
            status, raw = 200, self._item(body)
        else:
            status, raw = self._read(request.path.removeprefix(f"/{self.store.bucket}"), headers)
        request.send_response(status)
        request.send_header("Content-Length", str(len(raw)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(raw)

    def _item(self, body: bytes) -> bytes:
        project = msgspec.json.decode(body)["Key"]["pk"]["S"].removeprefix("champion#")
        alias = self.registry.alias(project)
        if alias is None:
            return b"{}"
        item: dict[str, Any] = {"pk": {"S": f"champion#{project}"}, "sk": {"S": "alias"}}
        for name, value in alias.to_value().items():
            if value is not None:
                item[name] = _typed(value)
        return msgspec.json.encode({"Item": item})

    def _read(self, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        if not path.startswith("?"):
            return self._object(path.removeprefix("/"), headers)
        from urllib.parse import parse_qs, quote

        prefix = parse_qs(path[1:])["prefix"][0]
        names = "".join(
            f"<CommonPrefixes><Prefix>{quote(prefix + name)}/</Prefix></CommonPrefixes>"
            for name in self.store.folders(prefix)
        )
        return 200, f"<ListBucketResult>{names}</ListBucketResult>".encode()

    def _object(self, key: str, headers: dict[str, str]) -> tuple[int, bytes]:
        from urllib.parse import unquote

        key = unquote(key)
        if key not in self.store.objects:
            return 404, b"<Error><Code>NoSuchKey</Code></Error>"
        raw = self.store.objects[key]
        asked = headers.get("range")
        if asked is None:
            return 200, raw
        if not raw:
            return 416, b"<Error><Code>InvalidRange</Code></Error>"
        return 206, raw[: int(asked.removeprefix("bytes=0-")) + 1]


@contextmanager
def aws_stand_in() -> Iterator[AwsStandIn]:
    stand_in = AwsStandIn(InMemoryObjectStore("artifacts"), InMemoryRegistry())
    try:
        yield stand_in
    finally:
        stand_in.hang_s = 0
        stand_in.stop()


def _typed(value: Any) -> dict[str, Any]:
    """A value in DynamoDB's JSON."""
    if isinstance(value, bool):
        return {"BOOL": value}
    return {"S": value} if isinstance(value, str) else {"N": str(value)}

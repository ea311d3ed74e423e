"""Signed requests over real sockets: what passes is tried again once, what does not pass ends in time."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lehr.aws import signed_http
from lehr.aws.credentials import CredentialSource
from lehr.aws.readers import open_readers
from lehr.aws.signed_http import ServiceError, SignedHttp
from lehr.errors import ConfigurationError
from tests.fakes import Kept
from tests.integration.predict.aws_stand_in import AwsStandIn, aws_stand_in

KEY = "models/mnist/v1/model.onnx"
SLOW_DOWN = (503, b"<Error><Code>SlowDown</Code></Error>")
THROTTLED = (400, b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException"}')
SKEWED = (403, b"<Error><Code>RequestTimeTooSkewed</Code></Error>")
DENIED = (403, b"<Error><Code>AccessDenied</Code></Error>")


@pytest.fixture
def aws() -> Iterator[AwsStandIn]:
    with aws_stand_in() as stand_in:
        stand_in.store.put(KEY, b"0123456789")
        yield stand_in


def http(aws: AwsStandIn, **limits: Any) -> SignedHttp:
    credentials = CredentialSource({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"})
    return SignedHttp("s3", aws.url, "eu-central-1", credentials, **limits)


def test_one_connection_carries_several_requests(aws: AwsStandIn) -> None:
    store, _ = open_readers("artifacts", "table", aws.environment())
    assert [store.get_start(KEY, count) for count in (3, 10, 99)] == [b"012", b"0123456789", b"0123456789"]
    assert store.exists(KEY)
    assert not store.exists("other")
    assert aws.connections == 1


def test_a_connection_that_was_closed_while_idle_is_replaced_without_an_attempt_lost(aws: AwsStandIn) -> None:
    store, _ = open_readers("artifacts", "table", aws.environment())
    store.get_start(KEY, 3)
    aws.drop_connections()
    aws.faults = [SLOW_DOWN]  # would be one fault too many, had the dead connection cost an attempt
    assert store.get_start(KEY, 3) == b"012"
    assert aws.connections == 2


def test_a_connection_that_has_been_idle_for_long_is_not_used_again(aws: AwsStandIn) -> None:
    now = [0.0]
    client = http(aws, clock=lambda: now[0])
    for _ in range(3):
        client.send("GET", f"/artifacts/{KEY}", max_bytes=99)
        now[0] += signed_http.MAX_IDLE_S
    assert aws.connections == 3
    assert len(client._idle) == 1


def test_more_bytes_than_asked_for_are_not_read(aws: AwsStandIn) -> None:
    client = http(aws)
    assert client.send("GET", f"/artifacts/{KEY}", max_bytes=4).body == b"0123"
    assert client.send("GET", f"/artifacts/{KEY}", max_bytes=99).body == b"0123456789"
    assert aws.connections == 2  # the first could not be used again: its rest was never read


@pytest.mark.parametrize("fault", [SLOW_DOWN, THROTTLED, SKEWED, (500, b"")])
def test_what_may_pass_is_tried_once_more_with_a_signature_of_its_own(
    fault: tuple[int, bytes], aws: AwsStandIn
) -> None:
    store, _ = open_readers("artifacts", "table", aws.environment())
    aws.faults = [fault]
    assert store.get_start(KEY, 3) == b"012"
    aws.faults = [fault, fault]
    with pytest.raises(ServiceError):
        store.get_start(KEY, 3)
    assert len(aws.requests) == 4


def test_what_does_not_pass_is_tried_once(aws: AwsStandIn) -> None:
    store, _ = open_readers("artifacts", "table", aws.environment())
    aws.faults = [DENIED]
    with pytest.raises(ServiceError, match="s3 answered 403 AccessDenied"):
        store.get_start(KEY, 3)
    assert len(aws.requests) == 1


def test_absent_and_empty_objects_are_told_apart(aws: AwsStandIn) -> None:
    store, _ = open_readers("artifacts", "table", aws.environment())
    aws.store.put("empty", b"")
    assert store.get_start("empty", 5) == b""
    with pytest.raises(KeyError, match="s3://artifacts/absent"):
        store.get_start("absent", 5)


def test_a_body_goes_to_a_sink_piece_by_piece(aws: AwsStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_http, "_CHUNK_BYTES", 3)
    store, _ = open_readers("artifacts", "table", aws.environment())
    aws.store.put("empty", b"")
    for key, count, raw in ((KEY, 99, b"0123456789"), (KEY, 4, b"0123"), ("empty", 5, b"")):
        sink = Kept()
        store.get_into(key, count, sink)
        assert sink.raw == raw
    with pytest.raises(KeyError, match="s3://artifacts/absent"):
        store.get_into("absent", 5, Kept())


def test_what_a_broken_answer_left_in_a_sink_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer ends in the middle; the second is whole, and is all that the sink has."""
    monkeypatch.setattr(signed_http, "_CHUNK_BYTES", 2)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for body in (b"01234", b"0123456789"):
            with listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(head + body)

    with listener:
        threading.Thread(target=serve, daemon=True).start()
        credentials = CredentialSource({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"})
        client = SignedHttp("s3", f"http://127.0.0.1:{listener.getsockname()[1]}", "r", credentials)
        sink = Kept()
        client.send("GET", "/", max_bytes=99, into=sink)
    assert (sink.raw, sink.restarts) == (b"0123456789", 2)


def test_a_service_that_does_not_answer_is_left_in_time(aws: AwsStandIn) -> None:
    aws.hang_s = 30
    client = http(aws, read_timeout_s=0.2)
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        client.send("GET", f"/artifacts/{KEY}", max_bytes=9)
    assert len(aws.requests) == signed_http.ATTEMPTS
    assert time.monotonic() - begin < 10


def test_an_answer_that_trickles_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, the whole never would."""
    monkeypatch.setattr(signed_http, "_CHUNK_BYTES", 1)
    listener = socket.create_server(("127.0.0.1", 0))

    def trickle(connection: socket.socket) -> None:
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            try:
                for _ in range(1000):
                    connection.sendall(b"x")
                    time.sleep(0.02)
            except OSError:
                return

    def serve() -> None:
        for _ in range(signed_http.ATTEMPTS):
            threading.Thread(target=trickle, args=(listener.accept()[0],), daemon=True).start()

    with listener:
        threading.Thread(target=serve, daemon=True).start()
        credentials = CredentialSource({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"})
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = SignedHttp("s3", url, "r", credentials, total_timeout_s=0.3)
        with pytest.raises(TimeoutError, match="took longer"):
            client.send("GET", "/b/k", max_bytes=1000)


def test_an_answer_that_is_cut_off_is_no_answer() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for body in (b"cut", b"whole body"):
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + body)

    with listener:
        threading.Thread(target=serve, daemon=True).start()
        credentials = CredentialSource({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"})
        client = SignedHttp("s3", f"http://127.0.0.1:{listener.getsockname()[1]}", "r", credentials)
        assert client.send("GET", "/b/k", max_bytes=1000).body == b"whole body"


def test_a_refused_connection_is_an_error_after_two_attempts(aws: AwsStandIn) -> None:
    aws.stop()
    with pytest.raises(ConnectionRefusedError):
        http(aws).send("GET", "/artifacts/k", max_bytes=1)


# --- credentials


@pytest.fixture
def agent() -> Iterator[tuple[str, list[str | None]]]:
    """The address that hands out credentials, and the tokens that it was shown."""
    shown: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers.get("Authorization"))
            number = len(shown)
            raw = json.dumps(
                {
                    "AccessKeyId": f"key-{number}",
                    "SecretAccessKey": "s",
                    "Token": "t",
                    "Expiration": "2026-01-01T01:00:00Z",
                }
            ).encode()
            self.send_response(200 if self.path == "/v1/credentials?x=1" else 404)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/credentials?x=1", shown
    server.shutdown()
    server.server_close()


EXPIRATION = 1767229200.0  # 2026-01-01T01:00:00Z


def test_after_a_restore_credentials_come_from_the_address_that_lambda_gives(
    agent: tuple[str, list[str | None]],
) -> None:
    url, shown = agent
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "secret"}
    now = [EXPIRATION - 3600]
    source = CredentialSource(environ, clock=lambda: now[0])
    assert [source.current().access_key for _ in range(3)] == ["key-1"] * 3
    assert shown == ["secret"]
    now[0] = EXPIRATION - 299  # they age, and are renewed before they expire
    assert source.current().access_key == "key-2"
    source = CredentialSource(environ, clock=lambda: EXPIRATION - 3600)
    source.current()
    source.forget()
    assert source.current().access_key == "key-4"


def test_keys_of_the_environment_are_read_each_time(agent: tuple[str, list[str | None]]) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    source = CredentialSource(environ)
    assert source.current().access_key == "a"
    environ["AWS_ACCESS_KEY_ID"] = "b"
    assert source.current().access_key == "b"


def test_the_token_may_lie_in_a_file(agent: tuple[str, list[str | None]], tmp_path: Path) -> None:
    url, shown = agent
    (tmp_path / "token").write_text("from-file\n")
    CredentialSource(
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": url,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
        }
    ).current()
    assert shown == ["from-file"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"AWS_ACCESS_KEY_ID": "a"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/credentials"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://localhost.example.com/credentials"},
    ],
)
def test_credentials_are_asked_of_this_machine_only_or_over_tls(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        CredentialSource(environ).current()


def test_an_agent_that_refuses_is_a_connection_error(agent: tuple[str, list[str | None]]) -> None:
    url = agent[0].replace("?x=1", "")
    with pytest.raises(ConnectionError, match="404"):
        CredentialSource({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}).current()

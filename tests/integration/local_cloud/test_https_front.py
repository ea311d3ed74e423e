"""The HTTPS front against real clients: Python's, curl's, and some that misbehave."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lehr_local import https_front, https_server
from lehr_local.api_gateway import SERVICE
from lehr_local.function_pool import Throttled
from lehr_local.https_front import HttpsFront
from lehr_local.server import listen
from lehr_local.service_clients import ServiceClients
from lehr_local.settings import ACCESS_KEY_ID, SECRET_ACCESS_KEY, LocalSettings
from tests.http_apis import FUNCTION_ARN, create_api
from tests.integration.local_cloud.template_cloud import free_port

ROUTES = {
    "POST /predict": "AWS_IAM",
    "GET /": "NONE",
    "POST /open": "NONE",
    "GET /models/{name}": "NONE",
    "ANY /files/{path+}": "AWS_IAM",
    "GET /members": "JWT",
}


@dataclass
class Result:
    payload: bytes
    error: str | None = None


@dataclass
class Functions:
    """Stands for the Lambda runtime: keeps the events, answers with what the test wants."""

    events: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    answer: Any = None
    error: str | None = None
    delay_s: float = 0.0

    def invoke(self, name: str, payload: bytes) -> Result:
        event = json.loads(payload)
        self.names.append(name)
        self.events.append(event)
        if event.get("queryStringParameters", {}).get("slow"):
            time.sleep(self.delay_s)
        answer = {"statusCode": 200, "body": json.dumps(event)} if self.answer is None else self.answer
        return Result(answer if isinstance(answer, bytes) else json.dumps(answer).encode(), self.error)


@dataclass(frozen=True)
class Front:
    settings: LocalSettings
    functions: Functions
    api_id: str
    server: HttpsFront

    @property
    def url(self) -> str:
        return f"https://localhost:{self.settings.https_port}"

    def connection(self, timeout: float = 10) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.settings.ca_file))
        return http.client.HTTPSConnection(
            "localhost", self.settings.https_port, context=context, timeout=timeout
        )

    def request(
        self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = self.connection()
        try:
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    settings = LocalSettings(
        state_dir=tmp_path_factory.mktemp("front"), port=free_port(), https_port=free_port()
    )
    client = ServiceClients(settings)(SERVICE)
    for api in client.get_apis()["Items"]:
        client.delete_api(ApiId=api["ApiId"])
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{FUNCTION_ARN}/invocations"
    api_id = create_api(client, "front", ROUTES, uri=uri, stage={"AutoDeploy": True})
    functions = Functions()
    front = HttpsFront(settings, functions.invoke)
    front.start(listen(settings.https_port, "--https-port"))
    try:
        yield Front(settings, functions, api_id, front)
    finally:
        front.close()
        client.delete_api(ApiId=api_id)


@pytest.fixture
def front(running: Front) -> Front:
    for name, value in Functions().__dict__.items():
        setattr(running.functions, name, value)
    return running


def signed(
    front: Front,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    secret: str = SECRET_ACCESS_KEY,
    service: str = "execute-api",
    headers: dict[str, str] | None = None,
) -> dict[str, str]:
    request = AWSRequest(
        method=method,
        url=front.url + target,
        data=body,
        headers={"host": f"localhost:{front.settings.https_port}", **(headers or {})},
    )
    SigV4Auth(Credentials(ACCESS_KEY_ID, secret), service, "us-east-1").add_auth(request)
    return dict(request.headers.items())


def curl(front: Front, *arguments: str) -> tuple[int, str]:
    command = [shutil.which("curl") or "curl", "--silent", "--max-time", "20"]
    command += ["--cacert", str(front.settings.ca_file), "--write-out", "\n%{http_code}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


SIGNED_CURL = (
    "--aws-sigv4",
    "aws:amz:us-east-1:execute-api",
    "--user",
    f"{ACCESS_KEY_ID}:{SECRET_ACCESS_KEY}",
)

# Events


def test_an_open_route_needs_no_signature_and_gets_a_2_0_event(front: Front) -> None:
    status, headers, body = front.request(
        "GET", "/?a=1&a=2&b=%C3%A9&empty=", headers={"Cookie": "x=1; y=2", "X-Two": "t"}
    )
    assert status == 200
    assert headers["apigw-requestid"]
    event = json.loads(body)
    assert front.functions.names == ["predict"]
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "GET /", "/")
    assert event["rawQueryString"] == "a=1&a=2&b=%C3%A9&empty="
    assert event["queryStringParameters"] == {"a": "1,2", "b": "é", "empty": ""}
    assert event["cookies"] == ["x=1", "y=2"]
    assert "cookie" not in event["headers"]
    assert event["headers"]["x-two"] == "t"
    assert event["requestContext"]["apiId"] == front.api_id
    assert event["requestContext"]["domainName"] == "localhost"
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert "body" not in event
    assert event["isBase64Encoded"] is False


def test_json_arrives_as_text_and_pixels_as_base64(front: Front) -> None:
    front.request("POST", "/open", b'{"a": 1}', {"Content-Type": "application/json; charset=utf-8"})
    front.request("POST", "/open", b"\x89PNG\x00\xff", {"Content-Type": "image/png"})
    text, image = front.functions.events
    assert (text["body"], text["isBase64Encoded"]) == ('{"a": 1}', False)
    assert (base64.b64decode(image["body"]), image["isBase64Encoded"]) == (b"\x89PNG\x00\xff", True)


def test_path_parameters_are_decoded(front: Front) -> None:
    _, _, body = front.request("GET", "/models/my%20digits")
    assert json.loads(body)["pathParameters"] == {"name": "my digits"}


def test_a_chunked_body_is_put_together(front: Front) -> None:
    connection = front.connection()
    connection.request(
        "POST", "/open", iter([b"ab", b"cd"]), {"Content-Type": "text/plain"}, encode_chunked=True
    )
    assert json.loads(connection.getresponse().read())["body"] == "abcd"
    connection.close()


# Responses


def test_status_headers_cookies_and_binary_bodies_reach_the_client(front: Front) -> None:
    front.functions.answer = {
        "statusCode": "201",
        "headers": {"Content-Type": "image/png", "X-Number": 5},
        "cookies": ["a=1; Secure", "b=2"],
        "body": base64.b64encode(b"\x00\xff").decode(),
        "isBase64Encoded": True,
    }
    connection = front.connection()
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (201, b"\x00\xff")
    assert answer.headers.get_all("set-cookie") == ["a=1; Secure", "b=2"]
    assert (answer.headers["content-type"], answer.headers["x-number"]) == ("image/png", "5")
    connection.close()


@pytest.mark.parametrize(
    ("result", "body"), [({"label": 7}, b'{"label":7}'), ("hello", b"hello"), ([1, 2], b"[1,2]")]
)
def test_a_result_without_a_status_is_the_body(front: Front, result: Any, body: bytes) -> None:
    front.functions.answer = result
    status, headers, answer = front.request("GET", "/")
    assert (status, headers["content-type"], answer) == (200, "application/json", body)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        {"statusCode": "many"},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "headers": {"x": "a\r\nset-cookie: evil=1"}},
        {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
    ],
)
def test_a_malformed_result_is_an_internal_server_error(front: Front, answer: Any) -> None:
    front.functions.answer = answer
    status, headers, body = front.request("GET", "/")
    assert (status, body) == (500, b'{"message":"Internal Server Error"}')
    assert "set-cookie" not in headers


def test_an_error_of_the_function_is_not_shown_to_the_client(front: Front) -> None:
    front.functions.answer, front.functions.error = {"errorMessage": "secret"}, "Unhandled"
    assert front.request("GET", "/")[::2] == (500, b'{"message":"Internal Server Error"}')


def test_a_path_or_method_without_a_route_is_not_found(front: Front) -> None:
    for method, target in (("GET", "/nowhere"), ("DELETE", "/"), ("GET", "/predict")):
        assert front.request(method, target)[::2] == (404, b'{"message":"Not Found"}')


def test_a_function_that_is_too_slow_is_unavailable(front: Front) -> None:
    front.functions.delay_s = 1.0
    with patch.object(https_front, "MAX_TIMEOUT_S", 0.2):
        assert front.request("GET", "/?slow=1")[::2] == (503, b'{"message":"Service Unavailable"}')


# Overload


@pytest.fixture
def throttled(front: Front) -> Iterator[str]:
    """The host of an API beside the first one: four requests at once, and one in two seconds."""
    client = ServiceClients(front.settings)(SERVICE)
    stage = {"DefaultRouteSettings": {"ThrottlingBurstLimit": 4, "ThrottlingRateLimit": 0.5}}
    api_id = create_api(client, "throttled", {"POST /open": "AWS_IAM"}, stage=stage)
    yield f"{api_id}.localhost:{front.settings.https_port}"
    client.delete_api(ApiId=api_id)


def test_beyond_the_throttle_of_the_stage_requests_are_told_when_to_come_again(
    front: Front, throttled: str
) -> None:
    answers = [front.request("POST", "/open", b"{}", {"Host": throttled}) for _ in range(8)]
    # Those that are let through have no signature; those that are not are never looked at.
    assert [status for status, _, _ in answers] == [403] * 4 + [429] * 4
    _, headers, body = answers[-1]
    assert headers["retry-after"] == "2"
    assert (headers["content-type"], body) == ("application/json", b'{"message":"Too Many Requests"}')
    assert front.request("GET", "/")[0] == 200


def test_a_stage_without_settings_lets_a_burst_through(front: Front) -> None:
    assert {front.request("GET", "/")[0] for _ in range(40)} == {200}


def test_more_requests_than_may_wait_are_turned_away_at_once(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    front.functions.delay_s = 1.0
    monkeypatch.setattr(front.server, "_places", threading.BoundedSemaphore(2))
    with ThreadPoolExecutor(6) as clients:
        asked = [clients.submit(front.request, "GET", "/?slow=1") for _ in range(6)]
        answers = [one.result() for one in asked]
    assert sorted(status for status, _, _ in answers) == [200] * 2 + [429] * 4
    assert {headers["retry-after"] for status, headers, _ in answers if status == 429} == {"1"}
    assert front.request("GET", "/")[0] == 200


def test_a_function_without_a_free_process_is_unavailable(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, payload: bytes) -> Result:
        raise Throttled

    monkeypatch.setattr(front.server, "_invoke", refuse)
    assert front.request("GET", "/")[::2] == (503, b'{"message":"Service Unavailable"}')


# Signatures


def test_an_unsigned_request_is_forbidden_and_reaches_no_function(front: Front) -> None:
    assert front.request("POST", "/predict", b"{}")[::2] == (403, b'{"message":"Forbidden"}')
    assert front.functions.events == []


def test_a_request_signed_by_botocore_is_let_in_with_its_caller(front: Front) -> None:
    body = b'{"x": [1, 2]}'
    headers = signed(front, "POST", "/predict", body, headers={"content-type": "application/json"})
    status, _, answer = front.request("POST", "/predict", body, headers)
    assert status == 200
    caller = json.loads(answer)["requestContext"]["authorizer"]["iam"]
    assert caller["accessKey"] == ACCESS_KEY_ID


def test_botocore_and_the_front_agree_on_awkward_paths_and_queries(front: Front) -> None:
    for target in ("/files/a%20b/c~d", "/files/x?b=2&a=1&a=0&c", "/files/%C3%A9"):
        assert front.request("GET", target, headers=signed(front, "GET", target))[0] == 200


def test_curl_signs_requests_that_are_let_in(front: Front, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(bytes(range(256)) * 8)
    status, body = curl(front, *SIGNED_CURL, "-X", "POST", "-d", '{"x": 1}', f"{front.url}/predict")
    assert status == 200, body
    status, body = curl(
        front,
        *SIGNED_CURL,
        *("--header", "content-type: image/png"),
        *("--data-binary", f"@{image}"),
        f"{front.url}/predict",
    )
    assert status == 200, body
    assert base64.b64decode(json.loads(body)["body"]) == image.read_bytes()
    assert curl(front, *SIGNED_CURL, f"{front.url}/files/a.txt")[0] == 200


def test_curl_without_or_with_a_wrong_secret_is_forbidden(front: Front) -> None:
    assert curl(front, "-d", "{}", f"{front.url}/predict") == (403, '{"message":"Forbidden"}')
    wrong = (*SIGNED_CURL[:3], f"{ACCESS_KEY_ID}:wrong")
    assert curl(front, *wrong, "-d", "{}", f"{front.url}/predict")[0] == 403


def test_curl_does_not_trust_the_front_without_its_authority(front: Front) -> None:
    done = subprocess.run(["curl", "--silent", f"{front.url}/"], capture_output=True, check=False)
    assert done.returncode == 60


def forbidden(front: Front, method: str, target: str, body: bytes, headers: dict[str, str]) -> bool:
    before = len(front.functions.events)
    status = front.request(method, target, body, headers)[0]
    return status == 403 and len(front.functions.events) == before


def test_what_was_altered_after_signing_is_forbidden(front: Front) -> None:
    body = b'{"x": 1}'
    good = signed(front, "POST", "/predict", body, headers={"content-type": "application/json"})
    assert not forbidden(front, "POST", "/predict", body, good)
    assert forbidden(front, "POST", "/predict", b'{"x": 2}', good)
    assert forbidden(front, "POST", "/predict?x=1", body, good)
    assert forbidden(front, "POST", "/predict", body, {**good, "content-type": "text/plain"})
    assert forbidden(front, "POST", "/predict", body, {**good, "Host": "example.com"})
    path = signed(front, "GET", "/files/a")
    assert not forbidden(front, "GET", "/files/a", b"", path)
    assert forbidden(front, "GET", "/files/b", b"", path)
    assert forbidden(front, "POST", "/files/a", b"", path)


def test_another_key_secret_or_service_is_forbidden(front: Front) -> None:
    assert forbidden(front, "POST", "/predict", b"", signed(front, "POST", "/predict", secret="other"))
    assert forbidden(front, "POST", "/predict", b"", signed(front, "POST", "/predict", service="s3"))
    good = signed(front, "POST", "/predict")
    other = good["Authorization"].replace(f"Credential={ACCESS_KEY_ID}/", "Credential=somebody/")
    assert forbidden(front, "POST", "/predict", b"", {**good, "Authorization": other})
    no_host = good["Authorization"].replace("SignedHeaders=host;", "SignedHeaders=")
    assert forbidden(front, "POST", "/predict", b"", {**good, "Authorization": no_host})


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_signature_that_is_stale_or_from_the_future_is_forbidden(front: Front, minutes: int) -> None:
    moment = datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=minutes)
    with patch("botocore.auth.get_current_datetime", return_value=moment):
        headers = signed(front, "POST", "/predict", b"{}")
    assert forbidden(front, "POST", "/predict", b"{}", headers)


def test_a_body_cannot_hide_behind_a_declared_checksum(front: Front) -> None:
    headers = signed(front, "POST", "/predict", b"one", headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert forbidden(front, "POST", "/predict", b"two", headers)


def test_authorizers_that_are_not_simulated_stay_closed(front: Front) -> None:
    assert front.request("GET", "/members")[::2] == (401, b'{"message":"Unauthorized"}')


# Sockets


def test_a_connection_is_kept_for_several_requests(front: Front) -> None:
    connection = front.connection()
    connection.connect()
    first = connection.sock
    for _ in range(3):
        connection.request("POST", "/open", b"x" * 1000)
        assert connection.getresponse().read()
        assert connection.sock is first
    connection.close()


def test_a_body_above_ten_megabytes_is_too_large(front: Front) -> None:
    assert front.request("POST", "/open", b"x" * https_server.MAX_BODY_BYTES)[0] == 200
    status, headers, body = front.request("POST", "/open", b"x" * (https_server.MAX_BODY_BYTES + 1))
    assert (status, body) == (413, b'{"message":"Request Entity Too Large"}')
    assert headers["connection"] == "close"


def test_curl_learns_of_a_too_large_body_too(front: Front, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * (https_server.MAX_BODY_BYTES + 1))
    assert curl(front, "--data-binary", f"@{large}", f"{front.url}/open")[0] == 413
    chunked = ("--header", "Transfer-Encoding: chunked")
    assert curl(front, *chunked, "--data-binary", f"@{large}", f"{front.url}/open")[0] == 413


def test_large_headers_are_refused(front: Front) -> None:
    assert front.request("GET", "/", headers={"X-Large": "x" * 10_300})[0] == 431
    assert front.request("GET", "/", headers={"X-Large": "x" * 9_000})[0] == 200


def test_silent_and_broken_clients_do_not_hold_up_others(front: Front) -> None:
    address = ("127.0.0.1", front.settings.https_port)
    silent = [socket.create_connection(address) for _ in range(20)]
    try:
        with socket.create_connection(address) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        half = front.connection()
        half.connect()
        assert half.sock is not None
        half.sock.sendall(b"POST /open HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
        started = time.monotonic()
        assert front.request("GET", "/")[0] == 200
        assert time.monotonic() - started < 5
        half.close()
    finally:
        for client in silent:
            client.close()


def test_a_request_with_two_lengths_is_refused(front: Front) -> None:
    connection = front.connection()
    connection.connect()
    assert connection.sock is not None
    connection.sock.sendall(
        b"POST /open HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    assert b"400" in connection.sock.recv(100)
    connection.close()


def test_many_clients_are_served_at_once(front: Front) -> None:
    front.functions.delay_s = 1.0
    barrier = threading.Barrier(8)

    def call(_: int) -> int:
        barrier.wait()
        return front.request("GET", "/?slow=1")[0]

    started = time.monotonic()
    with ThreadPoolExecutor(8) as clients:
        assert set(clients.map(call, range(8))) == {200}
    assert time.monotonic() - started < 8 * front.functions.delay_s


def test_a_front_that_is_closed_lets_go_of_its_port(tmp_path: Path) -> None:
    settings = LocalSettings(state_dir=tmp_path, port=free_port(), https_port=free_port())
    for _ in range(2):
        front = HttpsFront(settings, Functions().invoke)
        front.start(listen(settings.https_port, "--https-port"))
        front.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", settings.https_port))

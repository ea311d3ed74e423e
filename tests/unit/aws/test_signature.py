"""Signatures are those of botocore's signer, byte for byte, and never show the secret."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, quote

import botocore.auth
import botocore.session
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.serialize import create_serializer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lehr.aws.listing import folders_query
from lehr.aws.signature import Credentials, sign

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIGNERS = {"s3": botocore.auth.S3SigV4Auth, "dynamodb": botocore.auth.SigV4Auth}
REGIONS = ["eu-central-1", "us-east-1", "cn-north-1"]
secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


@cache
def model_of_s3() -> Any:
    return botocore.session.get_session().get_service_model("s3")


def by_botocore(
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    host: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    credentials: Credentials,
    region: str,
    service: str,
) -> dict[str, str]:
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: AT)
    request = AWSRequest(method=method, url=f"https://{host}{path}", data=body, headers=dict(headers))
    keys = BotocoreCredentials(credentials.access_key, credentials.secret_key, credentials.token or None)
    SIGNERS[service](keys, service, region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@settings(deadline=None, max_examples=400)
@given(
    method=st.sampled_from(["GET", "HEAD"]),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    end=st.integers(0, 1 << 40),
    access_key=st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), min_size=1, max_size=20),
    secret_key=secrets,
    token=secrets | st.just(""),
    region=st.sampled_from(REGIONS),
)
@example("GET", "a/../b//c/./~é%2F +?&=#\n\t\x7f", 0, "A", "s", "t", REGIONS[0])
@example("GET", "/begins with a slash", 0, "A", "s", "", REGIONS[0])
def test_a_request_to_s3_is_signed_as_botocore_signs_it(
    method: str, key: str, end: int, access_key: str, secret_key: str, token: str, region: str
) -> None:
    credentials = Credentials(access_key=access_key, secret_key=secret_key, token=token)
    host, path = "bucket.s3.eu-central-1.amazonaws.com", f"/{quote(key, safe='/')}"
    headers = {"range": f"bytes=0-{end}"} if method == "GET" else {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        expected = by_botocore(monkeypatch, method, host, path, headers, b"", credentials, region, "s3")
    found = sign(
        method,
        path,
        {"host": host, **headers},
        b"",
        credentials=credentials,
        region=region,
        service="s3",
        at=AT,
    )
    assert found == expected | {"host": host}


@settings(deadline=None, max_examples=200)
@given(body=st.binary(max_size=300), secret_key=secrets, token=secrets | st.just(""))
def test_a_request_to_dynamodb_is_signed_as_botocore_signs_it(
    body: bytes, secret_key: str, token: str
) -> None:
    credentials = Credentials(access_key="AKIA", secret_key=secret_key, token=token)
    host = "dynamodb.eu-central-1.amazonaws.com"
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.GetItem"}
    with pytest.MonkeyPatch.context() as monkeypatch:
        expected = by_botocore(
            monkeypatch, "POST", host, "/", headers, body, credentials, REGIONS[0], "dynamodb"
        )
    found = sign(
        "POST",
        "/",
        {"host": host, **headers},
        body,
        credentials=credentials,
        region=REGIONS[0],
        service="dynamodb",
        at=AT,
    )
    assert found == expected | {"host": host}


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
@example("a/../b//c/./~é%2F +?&=#\n\t\x7f")
def test_a_key_is_put_into_a_path_as_botocore_puts_it(key: str) -> None:
    model = model_of_s3()
    operation = model.operation_model("GetObject")
    serializer = create_serializer(model.metadata["protocol"], include_validation=False)
    request = serializer.serialize_to_request({"Bucket": "b", "Key": key}, operation)
    assert request["url_path"].split("?")[0].lstrip("/") == ("b/" + quote(key, safe="/")).lstrip("/")


@settings(deadline=None, max_examples=200)
@given(
    prefix=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    mark=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
)
@example("a/../b//c/./~é%2F +?&=#\n\t\x7f", "1/+=&?#%")
def test_a_listing_is_asked_for_and_signed_as_by_botocore(prefix: str, mark: str) -> None:
    credentials = Credentials(access_key="AKIA", secret_key="s", token="t")
    host, path = "bucket.s3.eu-central-1.amazonaws.com", f"/?{folders_query(prefix, mark)}"
    with pytest.MonkeyPatch.context() as monkeypatch:
        expected = by_botocore(monkeypatch, "GET", host, path, {}, b"", credentials, REGIONS[0], "s3")
    found = sign(
        "GET", path, {"host": host}, b"", credentials=credentials, region=REGIONS[0], service="s3", at=AT
    )
    assert found == expected | {"host": host}
    asked = {"list-type": "2", "encoding-type": "url", "delimiter": "/"}
    given = {name: value for name, value in (("prefix", prefix), ("continuation-token", mark)) if value}
    assert dict(parse_qsl(path.removeprefix("/?"))) == asked | given


def test_a_secret_is_not_shown() -> None:
    shown = repr(Credentials(access_key="AKIA", secret_key="s3cret", token="t0ken"))
    assert "s3cret" not in shown
    assert "t0ken" not in shown

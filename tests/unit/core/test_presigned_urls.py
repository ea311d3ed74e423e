"""Addresses that S3 takes in every region, with and without KMS."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from lehr.aws.clients import make_client
from lehr.aws.presigned_urls import EXPIRES_S, open_presigned_urls


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_an_address_names_its_region_and_has_a_signature_of_version_4(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    make_client.cache_clear()
    try:
        urls = open_presigned_urls("a-bucket")
        for address in (urls.to_put("batches/p/upload-1/input"), urls.to_get("batches/p/upload-1/input")):
            parts = urlsplit(address)
            assert parts.path == "/a-bucket/batches/p/upload-1/input"
            assert parts.hostname in {f"s3.{region}.amazonaws.com", "s3.amazonaws.com"}
            assert (parts.hostname == "s3.amazonaws.com") <= (region == "us-east-1")
            query = parse_qs(parts.query)
            assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
            assert query["X-Amz-Expires"] == [str(EXPIRES_S)]
            assert f"/{region}/s3/" in query["X-Amz-Credential"][0]
        assert urls.to_put("k") != urls.to_get("k")
    finally:
        make_client.cache_clear()

"""`PresignedUrls` over S3: what API Gateway's 10 MB do not hold goes to the bucket itself.

An address works for an hour, and no longer than the credentials that signed it, under their permissions.
"""

from __future__ import annotations

from typing import Any

from botocore.config import Config

from lehr.aws.clients import CONFIG, make_client

EXPIRES_S = 3600
# By path, which names the region: the other form is the global host, which redirects the first PUTs to a new bucket.
# Signature 4: in us-east-1 botocore would take 2, which S3 refuses for objects under KMS.
_CONFIG = CONFIG.merge(Config(s3={"addressing_style": "path"}, signature_version="s3v4"))


class S3PresignedUrls:
    """Signs locally: no call is made, and whether the object exists is not looked at."""

    def __init__(self, bucket: str, client: Any) -> None:
        self._bucket, self._client = bucket, client

    def to_get(self, key: str) -> str:
        return self._sign("get_object", key)

    def to_put(self, key: str) -> str:
        return self._sign("put_object", key)

    def _sign(self, operation: str, key: str) -> str:
        url: str = self._client.generate_presigned_url(
            operation, Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=EXPIRES_S
        )
        return url


def open_presigned_urls(bucket: str) -> S3PresignedUrls:
    return S3PresignedUrls(bucket, make_client("s3", _CONFIG))

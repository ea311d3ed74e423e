"""Which actions a request to S3 needs: S3 tells its operations apart by method, path and query.

The permissions of each operation: docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

from lehr_local.shield.policies import Demand

# Sub-resources of a bucket by their name in the query; the methods GET, PUT and DELETE come before the name.
_BUCKET_PARTS = {
    "accelerate": "AccelerateConfiguration",
    "acl": "BucketAcl",
    "cors": "BucketCORS",
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "location": "BucketLocation",
    "logging": "BucketLogging",
    "notification": "BucketNotification",
    "object-lock": "BucketObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "replication": "ReplicationConfiguration",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}
_DELETED_BY_PUT = (
    "cors",
    "encryption",
    "lifecycle",
    "ownershipControls",
    "publicAccessBlock",
    "replication",
    "tagging",
)
_OBJECT_PARTS = {"tagging": "Tagging", "acl": "Acl", "retention": "Retention", "legal-hold": "LegalHold"}


def place_of(path: str, host: str) -> tuple[str, str]:
    """Bucket and key of a request, in either style of addressing; each may be empty."""
    name = host.partition(":")[0]
    if name.endswith(".localhost"):
        return name.removesuffix(".localhost"), path.removeprefix("/")
    bucket, _, key = path.removeprefix("/").partition("/")
    return bucket, key


def s3_demands(
    method: str, path: str, query_string: str, headers: Mapping[str, str], body: bytes
) -> list[Demand]:
    """What a request needs; `path` is decoded, `headers` have lower-case names."""
    query = {name: values[0] for name, values in parse_qs(query_string, keep_blank_values=True).items()}
    bucket, key = place_of(path, headers.get("host", ""))
    if not bucket:
        return [Demand("s3:ListAllMyBuckets", "*")]
    if not key:
        return _of_bucket(method, bucket, query, body)
    return _of_object(method, bucket, key, query, headers)


def listing(bucket: str, prefix: str) -> Demand:
    """The permission to know what is in a bucket; also what makes a missing key a 404 and not a 403."""
    return Demand("s3:ListBucket", f"arn:aws:s3:::{bucket}", {"s3:prefix": prefix})


def _of_bucket(method: str, bucket: str, query: Mapping[str, str], body: bytes) -> list[Demand]:
    arn = f"arn:aws:s3:::{bucket}"
    if method == "POST" and "delete" in query:
        return [Demand("s3:DeleteObject", f"{arn}/{key}") for key in _keys_to_delete(body)]
    part = next((name for name in _BUCKET_PARTS if name in query), None)
    if part is not None:
        deletes_by_put = method == "DELETE" and part in _DELETED_BY_PUT
        verb = "Put" if deletes_by_put else method.title()
        return [Demand(f"s3:{verb}{_BUCKET_PARTS[part]}", arn)]
    if method == "GET" and "uploads" in query:
        return [Demand("s3:ListBucketMultipartUploads", arn)]
    if method == "GET":
        action = "s3:ListBucketVersions" if "versions" in query else "s3:ListBucket"
        names = {"s3:prefix": "prefix", "s3:delimiter": "delimiter", "s3:max-keys": "max-keys"}
        context = {key: query[name] for key, name in names.items() if name in query}
        return [Demand(action, arn, {"s3:prefix": "", **context})]
    return [Demand({"HEAD": "s3:ListBucket", "PUT": "s3:CreateBucket"}.get(method, "s3:DeleteBucket"), arn)]


def _keys_to_delete(body: bytes) -> list[str]:
    root = ElementTree.fromstring(body)  # noqa: S314
    return [item.text or "" for item in root.iter() if item.tag.rpartition("}")[2] == "Key"]


def _of_object(
    method: str, bucket: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> list[Demand]:
    arn = f"arn:aws:s3:::{bucket}/{key}"
    version = "Version" if query.get("versionId") else ""
    part = next((text for name, text in _OBJECT_PARTS.items() if name in query), "")
    if method in ("GET", "HEAD"):
        if "uploadId" in query:
            return [Demand("s3:ListMultipartUploadParts", arn)]
        return [Demand(f"s3:GetObject{version}{part}", arn)]
    if method == "DELETE":
        if "uploadId" in query:
            return [Demand("s3:AbortMultipartUpload", arn)]
        return [Demand(f"s3:DeleteObject{version}{part}", arn)]
    if part:
        return [Demand(f"s3:PutObject{version}{part}", arn)]
    return [Demand("s3:PutObject", arn, _of_writing(headers)), *_besides_writing(arn, headers)]


def _of_writing(headers: Mapping[str, str]) -> dict[str, str]:
    names = (
        *("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-acl"),
        *("x-amz-storage-class", "if-none-match", "if-match"),
    )
    return {f"s3:{name}": headers[name] for name in names if name in headers}


def _besides_writing(arn: str, headers: Mapping[str, str]) -> list[Demand]:
    demands = []
    if "x-amz-copy-source" in headers:
        source, _, version = unquote(headers["x-amz-copy-source"]).lstrip("/").partition("?versionId=")
        action = "s3:GetObjectVersion" if version else "s3:GetObject"
        demands.append(Demand(action, re.sub("^(?!arn:)", "arn:aws:s3:::", source)))
    if "if-match" in headers:
        demands.append(Demand("s3:GetObject", arn))
    if "x-amz-tagging" in headers:
        demands.append(Demand("s3:PutObjectTagging", arn))
    return demands

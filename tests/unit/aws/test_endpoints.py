"""The hosts of services are those of botocore's own table, in every region of every partition."""

from __future__ import annotations

import botocore.session
import pytest

from lehr.aws.endpoints import configured_url, service_host
from lehr.aws.readers import open_readers
from lehr.errors import ConfigurationError


def test_every_region_has_the_domain_that_botocore_knows() -> None:
    resolver = botocore.session.get_session()._get_internal_component("endpoint_resolver")
    seen = set()
    for partition in resolver.get_available_partitions():
        suffix = resolver.get_partition_dns_suffix(partition)
        for region in resolver.get_available_endpoints("dynamodb", partition):
            if region == "local" or "fips" in region:
                continue
            seen.add(partition)
            assert service_host("dynamodb", region) == f"dynamodb.{region}.{suffix}", partition
    assert {"aws", "aws-cn", "aws-us-gov", "aws-iso"} <= seen


def test_an_address_of_a_service_goes_before_the_one_for_all() -> None:
    both = {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": "http://s3"}
    assert [configured_url(service, both) for service in ("s3", "dynamodb")] == ["http://s3", "http://all"]
    assert configured_url("s3", {}) == ""


@pytest.mark.parametrize(
    ("bucket", "environ", "address"),
    [
        ("plain", {}, ("plain.s3.eu-west-1.amazonaws.com", "")),
        ("with.dot", {}, ("s3.eu-west-1.amazonaws.com", "/with.dot")),
        ("plain", {"AWS_ENDPOINT_URL": "http://127.0.0.1:5"}, ("127.0.0.1:5", "/plain")),
    ],
)
def test_a_bucket_is_asked_where_its_certificate_fits(
    bucket: str, environ: dict[str, str], address: tuple[str, str]
) -> None:
    store, _ = open_readers(bucket, "table", {"AWS_REGION": "eu-west-1", **environ})
    assert (store._http._host_header, store._prefix) == address


def test_an_environment_without_a_region_is_named() -> None:
    with pytest.raises(ConfigurationError, match="AWS_REGION"):
        open_readers("bucket", "table", {})

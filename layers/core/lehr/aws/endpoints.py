"""Where a service is asked: AWS's own address in a region, or the one that AWS_ENDPOINT_URL names."""

from __future__ import annotations

from collections.abc import Mapping

# What the names of a partition's regions begin with, and the domain of its services. The tests hold this equal
# to botocore's table.
_DOMAINS = {
    "cn-": "amazonaws.com.cn",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
}


def configured_url(service: str, environ: Mapping[str, str]) -> str:
    """The address that the environment gives instead of AWS's; empty for none."""
    return environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or environ.get("AWS_ENDPOINT_URL") or ""


def service_host(service: str, region: str) -> str:
    """The host of a service in a region."""
    domain = next((name for start, name in _DOMAINS.items() if region.startswith(start)), "amazonaws.com")
    return f"{service}.{region}.{domain}"

"""Bucket policies are kept and shown, not enforced.

moto does evaluate them, but without their conditions: a statement that denies requests without TLS would deny every
request. The API of the local cloud is plain HTTP on the loopback interface and open to whoever can reach it.
"""

from __future__ import annotations


def install() -> None:
    """Make moto's buckets neutral about every action. Installing twice is harmless."""
    from moto.iam.access_control import PermissionResult
    from moto.s3.models import FakeBucket

    FakeBucket.get_permission = lambda self, action, resource: PermissionResult.NEUTRAL

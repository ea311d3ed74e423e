"""Fixtures that the tests of the local cloud share."""

from tests.integration.local_cloud.functions_cloud import cloud

__all__ = ["cloud"]

"""The typed environment of a function."""

from __future__ import annotations

import pytest

from lehr.errors import ConfigurationError
from lehr.settings import Environment


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str
    limit: int
    share: float = 0.5


def test_variables_become_fields_of_their_types() -> None:
    settings = Settings.read({"ARTIFACT_BUCKET": "b", "LIMIT": "3", "SHARE": "0.25", "OTHER": "x"})
    assert settings == Settings(artifact_bucket="b", limit=3, share=0.25)


def test_a_default_stands_for_an_absent_variable() -> None:
    assert Settings.read({"ARTIFACT_BUCKET": "b", "LIMIT": "3"}).share == 0.5


def test_every_missing_or_mistyped_variable_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"ARTIFACT_BUCKET is not set; LIMIT is not of type int"):
        Settings.read({"LIMIT": "three"})


def test_the_variables_of_a_type_can_be_listed() -> None:
    assert Settings.variables() == {"ARTIFACT_BUCKET", "LIMIT", "SHARE"}

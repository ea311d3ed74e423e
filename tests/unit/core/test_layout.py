"""Keys are built from names, and from nothing that could climb out of its folder."""

from __future__ import annotations

import pytest

from lehr import layout
from lehr.errors import UserError


def test_a_shard_is_numbered_within_its_split() -> None:
    assert layout.staged_shard_key("mnist", "r1", "train", 3, 8) == (
        "runs/mnist/r1/prepared/train/shard-00003-of-00008.safetensors"
    )


def test_the_project_of_an_incoming_key_is_found() -> None:
    assert layout.project_of_incoming("incoming/mnist/a/b.gz") == "mnist"


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-a", "a" * 64, "a\n", "ä", "a b", "a%2fb", "."])
def test_what_is_no_name_builds_no_key(name: str) -> None:
    with pytest.raises(UserError):
        layout.model_prefix(name, "v1")


@pytest.mark.parametrize(
    "key", ["incoming/", "incoming/_READY", "other/mnist/_READY", "incoming/../x/_READY", ""]
)
def test_a_key_outside_of_incoming_has_no_project(key: str) -> None:
    with pytest.raises(UserError):
        layout.project_of_incoming(key)


def test_evaluations_against_different_champions_lie_apart() -> None:
    keys = {layout.evaluation_part_key("p", "r", "new", champion, 0) for champion in (None, "old", "older")}
    assert len(keys) == 3

"""Hostile drops of every format: accepted means sound, refused means a reason with a place, and memory has a bound.

A drop goes through the operations of start_run, prepare_shard and seal_dataset, and what is accepted is read by the
trainer. See tests/hostile; what a campaign says is kept in the XML file of a run with --junit-xml.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.plants import PLANTS

ROOT = Path(__file__).parents[3]
# One of each plant's own format is enough to find it.
FORMATS = {"labels": "idx", "exceptions": "png", "dtypes": "jpeg", "memory": "idx.gz"}


def campaign(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = subprocess.run(
        [sys.executable, "-m", "tests.hostile.campaign", *arguments],
        cwd=ROOT,
        env={**os.environ, "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.stdout, result.stderr
    return result.returncode, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "arguments", [("300",), pytest.param(("12000", "--heavy"), marks=pytest.mark.slow)], ids=lambda a: a[0]
)
def test_what_is_accepted_is_sound_and_what_is_refused_says_why(
    arguments: tuple[str, ...], record_property: Any
) -> None:
    code, said = campaign(*arguments)
    record_property("campaign", said)
    assert said["violations"] == []
    assert code == 0
    outcomes = said["outcomes"].values()
    drops = sum(one.get("accepted", 0) + one.get("refused", 0) for one in outcomes)
    assert drops > int(arguments[0])
    # Nothing would be shown by drops that are all refused, or by ones that nothing has happened to.
    assert sum(one.get("accepted", 0) for one in outcomes) > drops // 10
    assert sum(one.get("refused", 0) for one in outcomes) > drops // 10
    assert sum(one["set aside"] for one in outcomes) > drops // 20


@pytest.mark.parametrize(
    "plant", ["labels", *(pytest.param(one, marks=pytest.mark.slow) for one in PLANTS if one != "labels")]
)
def test_a_decoder_without_its_check_is_found(plant: str) -> None:
    """Negative control."""
    code, said = campaign("10", "--only", FORMATS[plant], "--plant", plant)
    assert code == 1
    assert said["violation_count"] > 0

"""A run in an account that has no room for its functions: they are refused for a while, and asked for again."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lehr import layout
from tests.e2e.small_mnist import write_data, write_project
from tests.e2e.targets import LocalTarget
from tests.e2e.workplace import Workplace, make_workplace
from tests.integration.shield.guarded_cloud import GuardedCloud

STACK = "crowded"
# The waits of the template add up to 20 minutes; here they are a second at most, and as many.
SHORTER = {"IntervalSeconds: 10": "IntervalSeconds: 1", "MaxDelaySeconds: 60": "MaxDelaySeconds: 1"}


@pytest.fixture
def crowded(cloud: GuardedCloud, tmp_path: Path) -> Workplace:
    """A stack beside the guarded one, whose state machine does not wait as long."""
    source = make_workplace(tmp_path, cloud.place.target).folder
    definition = source / "statemachine/retrain.asl.yaml"
    text = definition.read_text()
    for old, new in SHORTER.items():
        assert old in text
        text = text.replace(old, new)
    definition.write_text(text)
    command = [sys.executable, "-m", "lehr_local.deploy", "--template", "template.yaml", "--stack", STACK]
    command += ["--endpoint-url", str(cloud.place.cloud.endpoint_url)]
    environment = cloud.place.target.environment()
    subprocess.run(command, cwd=source, env=environment, capture_output=True, timeout=120, check=True)
    return Workplace(cloud.place.folder, LocalTarget(STACK))


def faults(place: Workplace, method: str, fault: dict[str, Any] | None = None) -> int:
    """Ask the shield for faults, or for none any more; returns how many have landed so far."""
    url = f"{place.cloud.endpoint_url}/lehr/shield/faults"
    body = json.dumps(fault).encode() if fault else None
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=30) as answer:
        landed: int = json.loads(answer.read())["landed_faults"]
        return landed


@pytest.fixture
def throttled(crowded: Workplace) -> Iterator[int]:
    """The first calls of functions that the state machine makes are refused; yields how many."""
    times = 30
    before = faults(
        crowded,
        "POST",
        {
            "action": "lambda:InvokeFunction",
            "actor": f"{STACK}-RetrainStateMachineRole*",
            "kind": "error",
            "code": "TooManyRequestsException",
            "status": 429,
            "times": times,
        },
    )
    yield times
    assert faults(crowded, "DELETE") - before == times, "some calls were not refused: less was tested"


@pytest.mark.slow
def test_a_run_goes_through_that_is_throttled_more_often_than_a_transient_error_is_retried(
    crowded: Workplace, throttled: int
) -> None:
    folder = write_project(crowded.folder / "crowded", "crowded", **{"epochs = 5": "epochs = 1"})
    assert crowded.lehr("push", str(folder)).code == 0
    trained = crowded.lehr("train", "crowded", "--data", str(write_data(crowded.folder / "rows", 1000)))
    assert trained.code == 0, trained.stderr
    (run,) = crowded.runs("crowded")
    assert run["status"] == "promoted"
    # One of the units was refused ten times at least, and a transient error is retried five times.
    plan = crowded.client("s3").get_object(
        Bucket=crowded.outputs()["ArtifactBucket"], Key=layout.plan_key("crowded", run["run"])
    )
    with plan["Body"] as body:
        assert throttled / len(json.loads(body.read())) > 5 + 1

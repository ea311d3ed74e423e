"""A canary answers its share of requests for its minute, is compared by what the endpoint logged, and takes over."""

from __future__ import annotations

import re
import time
from collections import Counter

import pytest

from tests.e2e.small_mnist import write_data, write_project
from tests.e2e.workplace import Workplace

TRAINING_JOBS = 2
pytestmark = pytest.mark.slow  # a bake takes a minute, and its last metrics two more


def test_a_canary_bakes_under_requests_and_becomes_champion(workplace: Workplace) -> None:
    project = workplace.project("baked")
    rollout = (
        '[rollout]\nstrategy = "canary"\nshare_percent = 50\nbake_minutes = 1\nmin_requests = 10\n\n[gate]'
    )
    folder = write_project(workplace.folder / project, project, **{"[gate]": rollout})
    assert workplace.lehr("push", str(folder)).code == 0
    first = workplace.lehr("train", project, "--data", str(write_data(workplace.folder / "data-400", 400)))
    assert first.code == 0, first.stderr
    (old,) = [run["model_version"] for run in workplace.runs(project)]
    dropped = workplace.lehr("drop", project, str(write_data(workplace.folder / "data-6000", 6000)))
    assert dropped.code == 0, dropped.stderr
    answered: Counter[str] = Counter()
    deadline = time.monotonic() + 600
    while workplace.runs(project)[0]["status"] == "running":
        assert time.monotonic() < deadline
        prediction = workplace.lehr("predict", project, "--row", "0")
        assert prediction.code == 0, prediction.stderr
        answered[prediction.only("prediction")["model_version"]] += 1
    latest = workplace.runs(project)[0]
    assert latest["status"] == "promoted", latest["reason"]
    assert latest["model_version"] != old
    assert answered.keys() == {old, latest["model_version"]}
    told = re.search(r"canary for 1 min: (\d+) requests, 0 failed", latest["reason"])
    assert told, latest["reason"]
    # The canary's own answers, and none after its champion was made of it.
    assert 5 <= int(told[1]) <= answered[latest["model_version"]]

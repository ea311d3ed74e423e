"""One guarded cloud for all, and one observation of every scenario with all permissions in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.shield.guarded_cloud import Grant, GuardedCloud, guarded_cloud, needed_by
from tests.integration.shield.scenarios import GOES_ON_FROM, SCENARIOS, Observation


@dataclass(frozen=True)
class Baseline:
    """What happened in each scenario, and which calls of roles were judged meanwhile."""

    observations: dict[str, Observation]
    calls: dict[str, list[dict[str, Any]]]
    denials: list[str]
    grants: list[Grant]
    # For each statement: the actions that it alone allows, by the scenario that needs them.
    needs: list[tuple[Grant, dict[str, set[str]]]]


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedCloud]:
    with guarded_cloud(tmp_path_factory.mktemp("guarded")) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def baseline(cloud: GuardedCloud) -> Baseline:
    observations, calls, denials = {}, {}, cloud.denials()
    for name, scenario in SCENARIOS.items():
        cloud.forget_calls()
        project = GOES_ON_FROM.get(name, name).replace("_", "-")[:12].rstrip("-")
        observations[name] = scenario(cloud, f"base-{project}")
        calls[name] = cloud.calls()
        denials += cloud.denials()
    documents = {name: cloud.documents_of(name) for name in cloud.roles.values()}
    grants = cloud.grants()
    needs = []
    for grant in grants:
        by_scenario = {
            name: needed_by(grant, documents[grant.role_name], judged) for name, judged in calls.items()
        }
        needs.append((grant, {name: actions for name, actions in by_scenario.items() if actions}))
    return Baseline(observations, calls, denials, grants, needs)

"""One suite for both targets: it drives the `lehr` command, and looks at what that leaves behind.

pytest tests/e2e                              a local cloud of its own
pytest tests/e2e --target aws --stack NAME    a deployed stack, with the credentials and region in force
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from lehr.contracts.recipe import parse_recipe
from lehr.estimates import estimate_run
from lehr.prices import load_prices
from tests.e2e import small_mnist
from tests.e2e.targets import AwsTarget, LocalTarget, Target, chosen_target
from tests.e2e.workplace import Workplace, cleaned_up, make_workplace

TARGET = pytest.StashKey[Target]()
ASSUMED_JOB_S = 300


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("end to end")
    group.addoption("--target", choices=["local", "aws"], default="local", help="Where tests/e2e runs.")
    group.addoption("--stack", help="With --target aws: the deployed stack that is tested.")


def pytest_configure(config: pytest.Config) -> None:
    # Without a path on the command line this file is found after the options were read.
    name = cast(str, config.getoption("target", "local"))
    # What it costs is said before it begins, which one process does.
    if name == "aws" and config.getoption("numprocesses", None):
        raise pytest.UsageError("--target aws runs in one process: leave out -n")
    config.stash[TARGET] = chosen_target(name, cast("str | None", config.getoption("stack", None)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not isinstance(config.stash[TARGET], AwsTarget):
        return
    for item in items:
        if marker := item.get_closest_marker("local_only"):
            item.add_marker(pytest.mark.skip(reason=f"local only: {marker.args[0]}"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say what it may cost, before anything is started."""
    target = session.config.stash[TARGET]
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if isinstance(target, AwsTarget) and reporter and session.items:
        reporter.write_line(cost_line(target, training_jobs(session.items)))


def training_jobs(items: list[pytest.Item]) -> int:
    """How many training jobs the modules of these tests start at most."""
    modules = {item.module for item in items if isinstance(item, pytest.Function)}
    return sum(getattr(module, "TRAINING_JOBS", 0) for module in modules)


def cost_line(target: AwsTarget, jobs: int) -> str:
    cloud, prices = target.cloud(small_mnist.EXAMPLE), load_prices()
    hour = prices.hour(small_mnist.INSTANCE_TYPE)
    worst = estimate_run(parse_recipe(small_mnist.recipe("digits")), prices, shards=4)
    return (
        f"{cloud.describe()}, stack {target.stack}: at most {jobs} training jobs on {small_mnist.INSTANCE_TYPE}, "
        f"{jobs * hour * ASSUMED_JOB_S / 3600:.2f} USD if each is billed for {ASSUMED_JOB_S // 60} minutes, "
        f"at worst {jobs * worst.total_usd:.2f} USD (list prices of {prices.region}, {prices.as_of})"
    )


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Workplace]:
    """One stack for the whole suite; its projects have names of this session's own."""
    target = pytestconfig.stash[TARGET]
    place = make_workplace(tmp_path_factory.mktemp("workplace"), target)
    if not isinstance(target, LocalTarget):
        with cleaned_up(place):
            yield place
        return
    up = place.lehr("local", "up", "--port", "0", "--https-port", "0")
    assert up.code == 0, up.stderr
    try:
        with cleaned_up(place):
            yield place
    finally:
        assert place.lehr("local", "down").code == 0

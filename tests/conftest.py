"""How the suite is shared out among the processes of pytest-xdist: `pytest -n auto`, as `make test` runs it.

Tests of a module run in one process, one after another, as do those of a suite whose fixtures are dear: the local
cloud of tests/e2e, the baseline of the shield. What takes longest begins first, so that no process is left with a
long tail. A test marked `alone` measures rate or time: no other runs meanwhile.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.groups import group_of, rank_of
from tests.turns import turn

# Powertools reads these when a handler's module is imported, which is before any fixture runs, whichever test does it.
os.environ.update(POWERTOOLS_METRICS_NAMESPACE="Lehr", POWERTOOLS_SERVICE_NAME="test")
_FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank_of(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    # Not by the number of tests: groups begin in the order in which they were collected.
    config.option.loadscopereorder = False
    return ByGroup(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process where they take turns."""
    if _FOLDER not in node.config.stash:
        node.config.stash[_FOLDER] = tempfile.TemporaryDirectory(prefix="turns-")
    node.workerinput["turns"] = node.config.stash[_FOLDER].name


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(_FOLDER, None):
        folder.cleanup()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    workerinput = getattr(item.config, "workerinput", None)
    if workerinput is None:
        return (yield)
    with turn(Path(workerinput["turns"]), is_alone=item.get_closest_marker("alone") is not None):
        return (yield)

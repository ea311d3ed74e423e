"""Which tests run in one process of pytest-xdist, and which groups begin first."""

from __future__ import annotations

# Suites that one process runs as a whole, since all their modules need the same session fixture.
WHOLE = ("tests/e2e/", "tests/integration/shield/")
# What takes a quarter of a minute or more, the longest first.
LONGEST = (
    *("tests/e2e/", "tests/integration/shield/"),
    "tests/integration/local_cloud/test_snapshots.py",
    "tests/integration/test_targets.py",
    "tests/template/test_build.py",
    "tests/robustness/",
    "tests/unit/trainer/test_resuming.py",
    "tests/unit/trainer/test_killing.py",
    "tests/unit/trainer/test_stock_container.py",
    "tests/integration/local_cloud/",
    "tests/template/",
)


def group_of(nodeid: str) -> str:
    """What runs in one process: a suite of WHOLE, or a module."""
    path = nodeid.split("::", 1)[0]
    return next((suite for suite in WHOLE if path.startswith(suite)), path)


def rank_of(nodeid: str) -> int:
    """Where a test stands in LONGEST; everything else comes after that."""
    return next((rank for rank, begin in enumerate(LONGEST) if nodeid.startswith(begin)), len(LONGEST))

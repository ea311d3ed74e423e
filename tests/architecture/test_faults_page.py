"""docs/faults.md names tests; each is there, and is one that runs with all others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROW = re.compile(r"^\| (?!What happens|---).+\|$", re.MULTILINE)


def missing(page: str, root: Path) -> list[str]:
    """The tests of a page that are nowhere, or that only run when they are asked for."""
    found = []
    for path, name in NAMED.findall(page):
        file = root / path
        tree = ast.parse(file.read_text()) if file.exists() else ast.Module([], [])
        tests = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}
        marks = [ast.unparse(mark) for mark in tests[name].decorator_list] if name in tests else ["nowhere"]
        if not name.startswith("test_") or {"nowhere", "pytest.mark.slow"} & set(marks):
            found.append(f"{path}::{name}")
    return found


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/faults.md").read_text()


def test_every_test_that_the_page_names_is_there(page: str, root: Path) -> None:
    assert missing(page, root) == []


def test_every_fault_has_a_test_and_no_line_is_short(page: str) -> None:
    rows = ROW.findall(page)
    assert len(rows) == 28
    assert all(NAMED.search(row) and row.count(" | ") == 2 for row in rows)


def test_the_pages_for_readers_lead_there(root: Path) -> None:
    for name in ("testing.md", "operations.md"):
        assert "(faults.md)" in (root / "docs" / name).read_text()


@pytest.mark.parametrize(
    "name",
    [
        "tests/unit/core/test_gate.py::test_that_nobody_wrote",
        "tests/unit/core/test_nothing.py::test_a_tie_keeps_the_champion",
        "tests/unit/core/test_gate.py::metrics",
        "tests/unit/runtime/test_tampered_packages.py::test_what_was_changed_is_never_loaded_in_5000_changes",
    ],
)
def test_a_test_that_is_not_there_is_noticed(name: str, root: Path) -> None:
    assert missing(f"| a | b | `{name}` |", root) == [name]

"""docs/causes.md is the catalogue of causes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lehr.causes.catalogue import FAILURES


def test_the_page_is_what_the_catalogue_says(root: Path) -> None:
    command = [sys.executable, "docs/generate_causes.py", "--check"]
    checked = subprocess.run(command, cwd=root, timeout=60)
    assert checked.returncode == 0, "run: python docs/generate_causes.py"


def test_every_cause_has_a_line_of_its_own(root: Path) -> None:
    failures, _, _ = (root / "docs/causes.md").read_text().partition("## Waits")
    lines = failures.splitlines()
    for cause in FAILURES:
        assert sum(line.startswith(f"| `{cause.name}` |") for line in lines) == 1, cause.name

"""Which python3.13 builds and imports: the interpreter behind what PATH names, which may be a shim."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.template.conftest import find_python313


@pytest.fixture
def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What PATH has as python3.13, and nothing beside it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "python3.13"
    path.touch(mode=0o755)
    return path


def test_a_shim_is_followed_to_its_interpreter(shim: Path) -> None:
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    assert find_python313() == Path(sys.executable).parent


def test_a_shim_that_runs_nothing_is_not_found(shim: Path) -> None:
    shim.write_text("#!/bin/sh\nexit 127\n")
    assert find_python313() is None

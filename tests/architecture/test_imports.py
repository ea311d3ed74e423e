"""Arrows point inwards: the contracts of pyproject.toml, checked by import-linter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LINTER = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]


def lint_imports(root: Path, config: Path) -> subprocess.CompletedProcess[str]:
    command = [*LINTER, "--config", str(config), "--no-cache"]
    environment = {"PYTHONPATH": str(root), "PATH": ""}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)


def test_imports_keep_their_direction(root: Path) -> None:
    result = lint_imports(root, root / "pyproject.toml")
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


def test_the_linter_sees_a_broken_contract(root: Path, tmp_path: Path) -> None:
    """Negative control: a contract that the code does break."""
    config = tmp_path / "importlinter.toml"
    config.write_text(
        '[tool.importlinter]\nroot_packages = ["lehr", "lehr_runtime"]\n'
        '[[tool.importlinter.contracts]]\nname = "reversed"\ntype = "layers"\nlayers = ["lehr", "lehr_runtime"]\n'
    )
    assert lint_imports(root, config).returncode == 1


@pytest.mark.parametrize("folder", ["layers", "functions"])
def test_no_torch_in_what_lambda_loads(root: Path, folder: str) -> None:
    """import-linter sees imports; this sees requirements too."""
    requirements = [path.read_text() for path in (root / folder).rglob("requirements.txt")]
    assert requirements
    assert not any("torch" in text for text in requirements)

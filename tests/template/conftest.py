"""The SAM CLI in its own environment, and the interpreter that a build for Lambda needs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAM = ROOT / ".venv-sam/bin/sam"


def find_python313() -> Path | None:
    """The folder of python3.13: on PATH, or where pyenv keeps it."""
    found = shutil.which("python3.13")
    if found:
        # pyenv has a shim for every version that it knows of, which may run in one folder and environment and not in
        # another. So the interpreter itself says where it lies, if it runs at all.
        where = [found, "-c", "import sys; print(sys.executable)"]
        answer = subprocess.run(where, capture_output=True, text=True)
        if answer.returncode == 0:
            return Path(answer.stdout.strip()).parent
    if shutil.which("pyenv"):
        latest = subprocess.run(["pyenv", "latest", "3.13"], capture_output=True, text=True)
        if latest.returncode == 0:
            prefix = subprocess.run(
                ["pyenv", "prefix", latest.stdout.strip()], capture_output=True, text=True
            )
            return Path(prefix.stdout.strip()) / "bin"
    return None


@pytest.fixture(scope="session")
def sam_environment() -> dict[str, str]:
    """Environment of the SAM CLI: no account, no telemetry, python3.13 on PATH if there is one."""
    if not SAM.exists():
        pytest.fail("the SAM CLI is missing: run `make setup`")
    folder = find_python313()
    path = os.pathsep.join([str(folder)] * bool(folder) + [os.environ["PATH"]])
    return {"PATH": path, "HOME": os.environ.get("HOME", "/"), "AWS_DEFAULT_REGION": "us-east-1"} | {
        "SAM_CLI_TELEMETRY": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def run_sam(*arguments: str, cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SAM), *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=900
    )

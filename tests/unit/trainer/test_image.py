"""The Dockerfile, read as text: it cannot be built where there is no Docker, but its paths can be checked."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
IMAGE = ROOT / "trainer_image"
LINES = re.sub(r"\\\n", " ", (IMAGE / "Dockerfile").read_text()).splitlines()
INSTRUCTIONS = [line.split(maxsplit=1) for line in LINES if line and not line.startswith("#")]


def _arguments(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def test_everything_that_is_copied_exists() -> None:
    sources = [path for line in _arguments("COPY") for path in shlex.split(line)[:-1]]
    assert sources == ["trainer_image/requirements.txt", "layers/core", "layers/runtime", "trainer_image"]
    for source in sources:
        assert (ROOT / source).exists(), source


def test_the_context_carries_what_is_copied_and_nothing_else() -> None:
    lines = (IMAGE / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    assert kept == {"layers/core", "layers/runtime", "trainer_image"}


def test_every_distribution_is_installed_from_where_it_was_copied() -> None:
    targets = {shlex.split(line)[1] for line in _arguments("COPY")}
    installed = set(re.findall(r"/build/[a-z_/]+(?=\s)", " ".join(_arguments("RUN"))))
    assert {"/build/layers/core", "/build/layers/runtime", "/build/trainer_image"} <= installed
    assert installed <= targets | {"/build/requirements.txt"}
    for folder in ("layers/core", "layers/runtime", "trainer_image"):
        assert (ROOT / folder / "pyproject.toml").exists()


def test_the_container_runs_the_trainer() -> None:
    assert _arguments("ENTRYPOINT") == ['["python", "-m", "lehr_trainer"]']
    assert _arguments("CMD") == ['["train"]']
    assert "PYTHONUNBUFFERED=1" in _arguments("ENV")[0]


def test_the_pins_are_exact_and_are_those_of_the_distributions() -> None:
    lines = [
        line for line in (IMAGE / "requirements.txt").read_text().splitlines() if line and line[0] != "#"
    ]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), lines
    for folder in (IMAGE, ROOT / "layers/core", ROOT / "layers/runtime"):
        declared = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]
        assert {dependency for dependency in declared if "==" in dependency} <= set(lines)
    runtime = (ROOT / "layers/runtime/requirements.txt").read_text().split()
    assert set(runtime) <= set(lines)

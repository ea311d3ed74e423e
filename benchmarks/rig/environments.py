"""Where each contender runs: environments with pinned packages, and the predict function as `sam build` makes it.

All of it lies under benchmarks/.peers, is made once, and again when its requirements change.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rig.store import ROOT

PEERS = ROOT / "benchmarks/peers"
MADE = ROOT / "benchmarks/.peers"


class NotInstalled(Exception):
    """Raised when a peer's packages do not install; the text is the last line of what pip says."""


@dataclass(frozen=True)
class Tree:
    """The predict function: its folder, the folders of its layers, and what they are."""

    code: Path
    layers: tuple[Path, ...]
    kind: str
    is_built: bool


def lambda_python() -> tuple[Path, str]:
    """A Python 3.13, as the deployed functions have; else this one. With its version."""
    installed = Path.home().glob(".pyenv/versions/3.13*/bin/python3.13")
    for command in ("python3.13", *map(str, sorted(installed))):
        found = shutil.which(command)
        if found:
            probe = "import sys, platform; print(sys.executable, platform.python_version())"
            done = subprocess.run([found, "-c", probe], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                path, version = done.stdout.split()
                return Path(path), version
    return Path(sys.executable), platform.python_version()


def environment(name: str) -> Path:
    """The Python of peers/<name>/requirements.txt, made if it is not there. Raises NotInstalled."""
    requirements = PEERS / name / "requirements.txt"
    base, version = lambda_python()
    folder = MADE / name
    python = folder / "bin/python"
    digest = hashlib.sha256(requirements.read_bytes() + version.encode()).hexdigest()
    ready = folder / ".ready"
    if ready.is_file() and ready.read_text() == digest:
        return python
    print(f"making the environment of {name}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([str(base), "-m", "venv", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*install, "-r", str(requirements)], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr]
        shutil.rmtree(folder, ignore_errors=True)
        raise NotInstalled(lines[-1].strip())
    ready.write_text(digest)
    return python


def source_tree() -> Tree:
    """The function as it stands in the repository, for the Python that runs this."""
    layers = (ROOT / "layers/core", ROOT / "layers/runtime")
    return Tree(ROOT, layers, f"source tree on Python {platform.python_version()}", is_built=False)


def predict_tree(*, is_built: bool = True) -> tuple[Tree, Path]:
    """The function to measure and the Python that runs it: the built tree, or the source where it cannot be built.

    What `sam build` makes is what is deployed: byte code and trimmed layers count, so it is built anew each time.
    Without Python 3.13 or the SAM CLI it is the source tree on this Python, and its kind says so.
    """
    python, version = lambda_python()
    sam = ROOT / ".venv-sam/bin/sam"
    if not is_built or not version.startswith("3.13") or not sam.is_file():
        return source_tree(), Path(sys.executable)
    machine = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    folder = MADE / "built"
    variables = dict(os.environ)
    variables |= {"ARCHITECTURE": machine, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    command = [str(sam), "build", "PredictFunction", "--build-dir", str(folder)]
    print("sam build PredictFunction", file=sys.stderr, flush=True)
    done = subprocess.run(
        [*command, "--parameter-overrides", f"Architecture={machine}"],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"sam build failed:\n{done.stderr[-2000:]}")
    layers = tuple(sorted(path for path in folder.glob("*Layer/python") if path.is_dir()))
    kind = f"sam build, {machine}, Python {version}"
    tree = Tree(folder / "PredictFunction", layers, kind, is_built=True)
    return tree, environment("lambda_runtime")


def versions(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Version of each of `packages` that the environment has."""
    done = subprocess.run(
        [str(python), "-m", "pip", "freeze", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = dict(re.findall(r"(?m)^([A-Za-z0-9_.-]+)==(\S+)$", done.stdout))
    names = {name.lower().replace("_", "-"): version for name, version in found.items()}
    return {name: names[name] for name in packages if name in names}

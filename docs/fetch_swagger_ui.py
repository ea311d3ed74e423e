"""Writes functions/predict/static/swagger-ui-VERSION.{js,css}.gz: what /docs shows the API with, of one pinned version.

    python docs/fetch_swagger_ui.py            # download from the npm registry, check, write
    python docs/fetch_swagger_ui.py --check    # exit code 1 unless the files that are kept hold those bytes

The files are kept in the repository, so that a build needs neither npm nor this download. Compressed, because Lambda
answers 6 MB at most and a browser unpacks them itself. To take another version: change VERSION and SHA256, run it, and
put the version into functions/predict/static/docs.html and functions/predict/pages.py.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
import urllib.request
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "functions" / "predict" / "static"
VERSION = "5.35.0"
URL = f"https://registry.npmjs.org/swagger-ui-dist/-/swagger-ui-dist-{VERSION}.tgz"
# By name in the package: the name here, and the sha256 of the bytes as they were published.
NAMES = {
    "swagger-ui-bundle.js": f"swagger-ui-{VERSION}.js.gz",
    "swagger-ui.css": f"swagger-ui-{VERSION}.css.gz",
    "LICENSE": "swagger-ui.LICENSE.txt",
    "NOTICE": "swagger-ui.NOTICE.txt",
    "swagger-ui-bundle.js.LICENSE.txt": "swagger-ui.third-party.txt",
}
SHA256 = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
}


def check(name: str, raw: bytes) -> str:
    """The sentence that says what is wrong with a file of the package; empty if nothing is."""
    found = hashlib.sha256(raw).hexdigest()
    return "" if found == SHA256[name] else f"{name} of swagger-ui-dist {VERSION} has the sha256 {found}"


def kept(name: str) -> bytes:
    path = FOLDER / NAMES[name]
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def fetch() -> dict[str, bytes]:
    with urllib.request.urlopen(URL, timeout=60) as answer:
        raw = answer.read()
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:gz") as archive:
        members = {name: archive.extractfile(f"package/{name}") for name in NAMES}
        return {name: member.read() for name, member in members.items() if member}


def main() -> int:
    is_check = "--check" in sys.argv[1:]
    files = {name: kept(name) for name in NAMES} if is_check else fetch()
    faults = [fault for name, raw in files.items() if (fault := check(name, raw))]
    if faults:
        print("\n".join(faults))
        return 1
    if not is_check:
        for name, raw in files.items():
            path = FOLDER / NAMES[name]
            path.write_bytes(gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw)
    return 0


if __name__ == "__main__":
    sys.exit(main())

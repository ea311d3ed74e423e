"""Threads that decode types for the first time at the same moment, which ends a process where msgspec is left alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys, threading

import msgspec

from lehr.contracts.document import Document, Part

sys.setswitchinterval(1e-6)
frozen = {"frozen": True, "kw_only": True}
for number in range(200):
    piece = msgspec.defstruct(f"Piece{number}", [("a", int), ("b", dict[str, int])], bases=(Part,), **frozen)
    fields = [("one", piece), ("more", list[piece])]
    kinds = [
        msgspec.defstruct(f"Kind{number}{letter}", fields, bases=(Document,), **frozen) for letter in "xy"
    ]
    begin = threading.Barrier(8)

    def decode(kind):
        begin.wait()
        raw = b'{"one": {"a": 1, "b": {}}, "more": []}'
        IS_GUARDED and kind.from_json(raw) or msgspec.json.decode(raw, type=kind)

    threads = [threading.Thread(target=decode, args=(kinds[thread % 2],)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


@pytest.mark.parametrize("is_guarded", [True, False])
def test_documents_may_be_decoded_by_threads_and_msgspec_alone_may_not(is_guarded: bool) -> None:
    """The negative control is msgspec's own: once it fails, the lock has had its day."""
    script = SCRIPT.replace("IS_GUARDED", str(is_guarded))
    ended = subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode
    # A signal is a negative code.
    assert ended == 0 if is_guarded else ended < 0

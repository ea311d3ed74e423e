"""Archives: every plain file comes out as it went in, and whatever else is in one is refused by name."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import tracemalloc
import zipfile

import pytest

from lehr import archives
from lehr.archives import Archive, checked_name
from lehr.errors import MalformedDataError
from lehr.file_formats import is_archive_name

FILES = {"round/1.png": b"\x89PNG one", "square/2.png": b"", "square/ü 3.png": bytes(range(256)) * 40}
ROOM = 1 << 20


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("folder/", b"")
        for name, body in files.items():
            archive.writestr(name, body)
    return stream.getvalue()


def tarred(files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT, **changes: object) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=kind) as archive:
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            for key, value in changes.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(body))
    return stream.getvalue()


PACKED = {
    "deflated": zipped(FILES),
    "stored": zipped(FILES, zipfile.ZIP_STORED),
    "pax": tarred(FILES),
    "gnu": tarred(FILES, tarfile.GNU_FORMAT),
    "tar.gz": gzip.compress(tarred(FILES)),
}


def read(raw: bytes, max_bytes: int = ROOM) -> dict[str, bytes]:
    pieces = (raw[first : first + 1000] for first in range(0, len(raw), 1000))
    archive = Archive(pieces, place="a", max_bytes=max_bytes)
    return {name: archive.read(name) for name in archive.sizes}


@pytest.mark.parametrize("kind", PACKED)
def test_every_file_comes_out_as_it_went_in(kind: str) -> None:
    assert read(PACKED[kind]) == FILES


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "A.TAR.GZ", "a.tgz"])
def test_an_archive_is_known_by_its_name(name: str) -> None:
    assert is_archive_name(name)
    assert not is_archive_name(name + ".png")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\b", "a\x00b", "a\u202eb", "x" * 501])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(MalformedDataError, match="leads out of the archive, or is none"):
        checked_name(name, "a")


def test_a_name_that_leads_elsewhere_is_refused_in_either_kind() -> None:
    for raw in (zipped({"../x": b"1"}), tarred({"../x": b"1"})):
        with pytest.raises(MalformedDataError, match=r"a!\.\./x"):
            read(raw)


def _encrypted() -> bytes:
    raw = bytearray(zipped({"x": b"secret"}))
    central = raw.rindex(b"PK\x01\x02")
    raw[raw.rindex(b"PK\x03\x04") + 6] |= 1
    raw[central + 8] |= 1
    return bytes(raw)


def _linked() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (_encrypted(), "is encrypted"),
        (_linked(), "a link or a device"),
        (tarred({"link": b""}, type=tarfile.SYMTYPE, linkname="/etc/passwd"), "a link or a device"),
        (tarred({"link": b""}, type=tarfile.LNKTYPE, linkname="round/1.png"), "a link or a device"),
        (tarred({"pipe": b""}, type=tarfile.FIFOTYPE), "a link or a device"),
        (zipped({"inner.zip": zipped(FILES)}), "archive within an archive"),
        (tarred({"inner": tarred(FILES)}), "archive within an archive"),
        (zipped(FILES, zipfile.ZIP_BZIP2), "packed by method 12"),
        (zipped(FILES)[:-30], "damaged|neither"),
        (tarred(FILES)[:700], "truncated|damaged"),
        (b"no archive at all", "neither a zip nor a tar"),
        (gzip.compress(b"no archive at all"), "neither a zip nor a tar"),
        (gzip.compress(tarred(FILES))[:-20], "truncated"),
    ],
    # Bytes would be named by their content, which has the time in it.
    ids=lambda value: value if isinstance(value, str) else "raw",
)
def test_what_is_no_plain_file_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(MalformedDataError, match=words):
        read(raw)


def test_a_file_that_is_there_twice_is_refused() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for body in (b"1", b"2"):
            entry = tarfile.TarInfo("x")
            entry.size = 1
            archive.addfile(entry, io.BytesIO(body))
    with pytest.raises(MalformedDataError, match="is there twice"):
        read(stream.getvalue())


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    with pytest.raises(MalformedDataError, match="more than 2 files"):
        read(PACKED["pax"])


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "lying zip"])
def test_a_bomb_is_refused_within_the_memory_that_it_may_take(kind: str) -> None:
    zeros = bytes(64 << 20)
    raw = gzip.compress(tarred({"x": zeros}), 9) if kind == "tar.gz" else zipped({"x": zeros})
    if kind == "lying zip":
        size = len(zeros).to_bytes(4, "little")
        raw = raw.replace(size, (100).to_bytes(4, "little"))
    del zeros
    tracemalloc.start()
    with pytest.raises(MalformedDataError, match=r"more than|damaged"):
        read(raw)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("mutations", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_mutated_archive_gives_files_or_a_reason(mutations: int) -> None:
    draw = random.Random(5)
    kinds = list(PACKED.values())
    refused = 0
    for number in range(mutations):
        raw = bytearray(kinds[number % len(kinds)])
        for _ in range(draw.randint(1, 8)):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        if draw.random() < 0.2:
            del raw[draw.randrange(len(raw)) :]
        try:
            files = read(bytes(raw))
        except MalformedDataError:
            refused += 1
            continue
        assert sum(map(len, files.values())) <= ROOM
    assert refused > mutations // 10


def test_a_member_without_a_name_is_refused() -> None:
    """Of which zipfile says that an index is out of range."""
    with pytest.raises(MalformedDataError, match="leads out of the archive, or is none"):
        read(zipped({"x": b"1"}).replace(b"x", b"\0"))

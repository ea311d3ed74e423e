"""The files of a snapshot: what is torn is not believed, and what nobody names is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from lehr_local.errors import LocalCloudError
from lehr_local.snapshot_files import SnapshotFiles, TornError

ABOUT = {"moto": "1"}


@pytest.fixture
def files(tmp_path: Path) -> SnapshotFiles:
    return SnapshotFiles(tmp_path / "snapshot")


def write(files: SnapshotFiles, number: int, *contents: bytes) -> list[str]:
    files.blobs.begin()
    names = [files.blobs.add(content) for content in contents]
    files.write({"number": number}, ABOUT)
    return names


def numbers(files: SnapshotFiles) -> list[int]:
    return [files.read(path)[1]["number"] for path in files.states()]


def test_the_two_newest_states_are_kept(files: SnapshotFiles) -> None:
    for number in range(1, 5):
        write(files, number)
    assert numbers(files) == [4, 3]


def test_the_same_state_is_not_written_again(files: SnapshotFiles) -> None:
    assert files.write({"number": 1}, ABOUT)
    assert not files.write({"number": 1}, ABOUT)
    assert files.write({"number": 2}, ABOUT)


@pytest.mark.parametrize("keep_bytes", [0, 10, -3])
def test_a_torn_state_is_recognised(files: SnapshotFiles, keep_bytes: int) -> None:
    write(files, 1)
    write(files, 2)
    newest, older = files.states()
    newest.write_bytes(newest.read_bytes()[:keep_bytes])
    with pytest.raises(TornError):
        files.read(newest)
    assert files.read(older)[1] == {"number": 1}


def test_a_state_with_one_wrong_byte_is_recognised(files: SnapshotFiles) -> None:
    write(files, 1)
    (path,) = files.states()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(TornError):
        files.read(path)


def test_a_state_of_another_format_is_refused_and_not_taken_for_torn(files: SnapshotFiles) -> None:
    write(files, 1)
    (path,) = files.states()
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 9'))
    with pytest.raises(LocalCloudError, match="another version"):
        files.read(path)


def test_bytes_are_found_by_their_name_until_no_state_names_them(files: SnapshotFiles) -> None:
    (first,) = write(files, 1, b"first")
    (second,) = write(files, 2, b"second")
    assert files.blobs.read(first) == b"first"
    write(files, 3, b"second")
    with pytest.raises(TornError, match="missing"):
        files.blobs.read(first)
    assert files.blobs.read(second) == b"second"


def test_damaged_bytes_are_recognised(files: SnapshotFiles, tmp_path: Path) -> None:
    (name,) = write(files, 1, b"content")
    (tmp_path / "snapshot" / "bytes" / name).write_bytes(b"another")
    with pytest.raises(TornError, match="damaged"):
        files.blobs.read(name)


def test_a_name_cannot_lead_out_of_the_folder(files: SnapshotFiles) -> None:
    with pytest.raises(TornError):
        files.blobs.read("../../etc/passwd")


def test_nobody_else_can_look_into_the_folder(files: SnapshotFiles) -> None:
    write(files, 1)
    assert files.folder.stat().st_mode & 0o077 == 0

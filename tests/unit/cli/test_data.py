"""Dropping data: what is checked before anything is sent, and waiting for the answer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lehr.contracts.registry import TriggerRecord
from lehr.errors import MalformedDataError, MissingDataError, UserError
from lehr_cli.data import ANSWER_TIMEOUT_S, collect, verify, wait_for_answer
from lehr_cli.failures import RunFailedError
from tests.fakes import InMemoryRegistry

EXAMPLE = Path(__file__).parents[3] / "examples" / "mnist" / "data"


def sums(folder: Path, **digests: str) -> None:
    text = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    (folder / "SHA256SUMS").write_text(text)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_folder_is_taken_whole_without_checksums_and_hidden_files(tmp_path: Path) -> None:
    for name in ("a.gz", "deep/b.gz", ".DS_Store", "SHA256SUMS", "_READY"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert list(collect([tmp_path])) == ["a.gz", "deep/b.gz"]


def test_files_are_taken_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"x")
    assert collect([tmp_path / "a.gz"]) == {"a.gz": tmp_path / "a.gz"}


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"nothing\.gz: there is no such file"):
        collect([tmp_path / "nothing.gz"])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no files to drop"):
        collect([tmp_path])


def test_the_example_passes_its_own_checksums() -> None:
    verify(collect([EXAMPLE]).values())


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"good")
    (tmp_path / "bad").write_bytes(b"changed")
    sums(tmp_path, good=digest(b"good"), bad=digest(b"original"))
    with pytest.raises(MalformedDataError) as raised:
        verify(collect([tmp_path]).values())
    assert raised.value.place == str(tmp_path / "bad")


def test_a_single_file_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"changed")
    sums(tmp_path, bad=digest(b"original"))
    with pytest.raises(MalformedDataError):
        verify([tmp_path / "bad"])


def test_files_without_checksums_pass(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    verify([tmp_path / "a"])
    sums(tmp_path, other=digest(b"y"))
    verify([tmp_path / "a"])


def stack(registry: InMemoryRegistry) -> Any:
    return SimpleNamespace(registry=registry, target=SimpleNamespace(poll_s=0.3))


def test_the_answer_to_the_own_drop_is_waited_for() -> None:
    registry = InMemoryRegistry()
    slept: list[float] = []
    answer = TriggerRecord(project="mnist", trigger="ab" * 16, outcome="started", reason="", at="")

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            registry.add_trigger(answer)

    assert wait_for_answer(stack(registry), "mnist", "ab" * 16, sleep=sleep) == answer
    assert slept == [0.3] * 3


def test_no_answer_is_told_with_where_to_look() -> None:
    times = iter([0.0, 1.0, ANSWER_TIMEOUT_S + 1])
    with pytest.raises(RunFailedError, match="nothing has answered") as raised:
        wait_for_answer(
            stack(InMemoryRegistry()), "mnist", "x", sleep=lambda _: None, clock=lambda: next(times)
        )
    assert "dead-letter" in raised.value.hint

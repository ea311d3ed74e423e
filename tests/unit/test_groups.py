"""How the suite is shared out among processes."""

from __future__ import annotations

import fcntl
import threading
import time
from pathlib import Path

import pytest

from tests.groups import LONGEST, WHOLE, group_of, rank_of
from tests.turns import turn

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted({*WHOLE, *LONGEST}))
def test_what_is_named_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_a_module_stays_together_and_so_does_a_suite_with_one_fixture() -> None:
    assert group_of("tests/unit/core/test_layout.py::test_a[x::y]") == "tests/unit/core/test_layout.py"
    assert group_of("tests/e2e/test_page.py::test_a") == group_of("tests/e2e/test_demo.py::test_b")
    assert group_of("tests/integration/shield/test_pipeline.py::test_a") == "tests/integration/shield/"


def test_the_longest_come_first_and_what_is_not_named_last() -> None:
    named = [rank_of(f"{path}::test_a") for path in LONGEST]
    assert named == sorted(set(named))
    assert rank_of("tests/unit/core/test_layout.py::test_a") > max(named)


class Visit:
    """Somebody who takes a turn in a thread and stays until `leave` is set."""

    def __init__(self, folder: Path, *, is_alone: bool) -> None:
        self.is_in, self.leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._take, args=(folder, is_alone), daemon=True)
        self._thread.start()

    def _take(self, folder: Path, is_alone: bool) -> None:
        with turn(folder, is_alone=is_alone):
            self.is_in.set()
            self.leave.wait(30)

    def end(self) -> None:
        self.leave.set()
        self._thread.join(30)


def is_shut(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_many_are_in_at_once_and_who_wants_to_be_alone_waits_and_goes_before_those_who_come_later(
    tmp_path: Path,
) -> None:
    first, second = (Visit(tmp_path, is_alone=False) for _ in range(2))
    assert first.is_in.wait(10)
    assert second.is_in.wait(10)
    alone = Visit(tmp_path, is_alone=True)
    while not is_shut(tmp_path / "door"):
        time.sleep(0.01)
    later = Visit(tmp_path, is_alone=False)
    first.end()
    assert not later.is_in.wait(0.2)
    assert not alone.is_in.is_set()
    second.end()
    assert alone.is_in.wait(10)
    assert not later.is_in.wait(0.2)
    alone.end()
    assert later.is_in.wait(10)
    later.end()


def test_a_turn_ends_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wrong"), turn(tmp_path, is_alone=True):
        raise ValueError("wrong")
    with turn(tmp_path, is_alone=True):
        pass

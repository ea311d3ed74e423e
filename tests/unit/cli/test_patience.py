"""429 is asked again after a pause: the endpoint's, or one that doubles; and not for ever."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lehr_cli.patience import PATIENCE_S, retry_after_s, send_patiently


class Server:
    """Refuses the first `busy` requests; `headers` are those of its refusals."""

    def __init__(self, busy: int, headers: dict[str, str] | None = None) -> None:
        self.busy, self.headers, self.asked = busy, headers or {}, 0
        self.pauses: list[float] = []

    def send(self) -> Any:
        self.asked += 1
        status = 429 if self.asked <= self.busy else 200
        return SimpleNamespace(status_code=status, headers=self.headers if status == 429 else {})

    def ask(self, chance: float = 0.5) -> int:
        response = send_patiently(self.send, sleep=self.pauses.append, chance=lambda: chance)
        status: int = response.status_code
        return status


def test_what_is_answered_is_asked_once() -> None:
    server = Server(busy=0)
    assert (server.ask(), server.asked, server.pauses) == (200, 1, [])


def test_the_pause_is_the_one_that_was_asked_for() -> None:
    server = Server(busy=3, headers={"Retry-After": "4"})
    assert (server.ask(), server.pauses) == (200, [4.0, 4.0, 4.0])


def test_without_a_word_on_when_the_pause_doubles() -> None:
    server = Server(busy=4)
    assert (server.ask(), server.pauses) == (200, [1.0, 2.0, 4.0, 8.0])


def test_callers_do_not_all_come_back_together() -> None:
    early, late = Server(busy=1), Server(busy=1)
    early.ask(chance=0.0)
    late.ask(chance=1.0)
    assert (early.pauses, late.pauses) == ([0.5], [1.5])


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}, {"Retry-After": "3"}, {"Retry-After": "3600"}])
def test_patience_ends_with_the_refusal(headers: dict[str, str]) -> None:
    server = Server(busy=10**9, headers=headers)
    assert server.ask() == 429
    assert sum(server.pauses) <= PATIENCE_S
    assert server.asked == len(server.pauses) + 1
    assert server.asked < 500


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2.0),
        (" 7 ", 7.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("Thu, 01 Jan 2026 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_seconds(text: str, seconds: float | None) -> None:
    assert retry_after_s(text) == seconds

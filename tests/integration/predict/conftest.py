"""Connections that a test leaves open are closed after it, since a forgotten socket is a warning and so an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lehr.aws.signed_http import SignedHttp


@pytest.fixture(autouse=True)
def _closed_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made: list[SignedHttp] = []
    make = SignedHttp.__init__

    def remember(self: SignedHttp, *arguments: Any, **named: Any) -> None:
        made.append(self)
        make(self, *arguments, **named)

    monkeypatch.setattr(SignedHttp, "__init__", remember)
    yield
    for one in made:
        one.close()

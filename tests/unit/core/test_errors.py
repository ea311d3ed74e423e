"""What a person is told fits where it is kept, however long what it quotes is."""

from __future__ import annotations

from lehr.errors import MAX_REASON_CHARACTERS, MalformedDataError


def test_a_reason_keeps_its_beginning_and_its_end_however_long_a_file_is_quoted() -> None:
    fault = MalformedDataError(
        f"has label '{'x' * 500_000}', which is none", place="a" * 9000, hint="h" * 9000
    )
    assert fault.message.startswith("has label 'xxx")
    assert fault.message.endswith("xxx', which is none")
    assert max(map(len, (fault.message, fault.place, fault.hint))) <= MAX_REASON_CHARACTERS + 3
    assert str(fault) == f"{fault.place}: {fault.message} ({fault.hint})"


def test_an_ordinary_reason_stays_as_it_is() -> None:
    assert str(MalformedDataError("is empty", place="a.csv", hint="fill it")) == "a.csv: is empty (fill it)"

"""Rows of JSON Lines as they are sampled for a schema: one flat object a line, https://jsonlines.org."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from lehr.csv_rows import MAX_NAME_CHARACTERS
from lehr.errors import MalformedDataError, MismatchedDataError

Cell = str | float | None
# Of a sample of 8 MB at most: where there are more, hardly one in ten says anything.
MAX_CELLS = 8_000_000


def jsonl_objects(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line from 1, object) of each line that is one."""
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            one = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue
        if isinstance(one, dict):
            yield number, one


def jsonl_rows(text: str, told: Mapping[str, str], *, place: str) -> tuple[list[str], list[list[Cell]]]:
    """The keys in the order in which they come, and of each object the value of each, None where it has none.

    A line that is no object is passed over; it is refused when all are read. Raises MismatchedDataError for a value
    that is neither a number nor a text, of a key that `told` does not say to ignore, MalformedDataError for such a key,
    and for objects that have hardly a key in common.
    """
    names: dict[str, None] = {}
    objects: list[dict[str, Any]] = []
    for number, one in jsonl_objects(text):
        objects.append(one)
        for name, value in one.items():
            names[name] = None
            if isinstance(value, dict | list | bool) and told.get(name) != "ignore":
                kind = (
                    "an object"
                    if isinstance(value, dict)
                    else "a list"
                    if isinstance(value, list)
                    else "a truth value"
                )
                raise MismatchedDataError(
                    f"the key {name} is {kind} in line {number}, where a table has a number or a text",
                    place=place,
                    hint=f'write it as such, or leave it out with data.columns: "{name}" = "ignore"',
                )
    for name in names:
        if not name or len(name) > MAX_NAME_CHARACTERS:
            raise MalformedDataError(
                f"has a key of {len(name)} characters, not 1 to {MAX_NAME_CHARACTERS}", place=place
            )
    if len(names) * len(objects) > MAX_CELLS:
        raise MalformedDataError(
            f"has {len(names)} different keys in {len(objects)} lines, most of them in few",
            place=place,
            hint="a table has the same keys in every line: are there names or dates among the keys?",
        )
    return list(names), [[_cell(one.get(name)) for name in names] for one in objects]


def _cell(value: Any) -> Cell:
    return value.strip() if isinstance(value, str) else value if isinstance(value, int | float) else None

"""The list of files that a project brings along: a CSV or JSON Lines manifest of files, labels and splits.

Everything that it says is held against what was dropped before anything is started, and named with its line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from functions.start_run.pins import read
from lehr.contracts.data_tables import Data
from lehr.csv_rows import find_delimiter, iterate_rows, read_header
from lehr.errors import MalformedDataError, MismatchedDataError, MissingDataError
from lehr.file_formats import beside
from lehr.layout import READY, incoming_prefix
from lehr.ports import ObjectStore, StoredObject

MAX_MANIFEST_BYTES = 64 << 20
COLUMNS = ("file", "label", "split")
SPLITS = ("train", "test")
_JSON_LINES = (".jsonl", ".ndjson")
_HINT = (
    'a manifest is CSV with the header "file,label" or "file,label,split", or JSON Lines with these fields'
)


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of JSON."""

    file: str
    label: str
    split: str | None = None


@dataclass(frozen=True)
class Listed:
    """One line of a manifest: `name` below incoming/<project>/, and the place of its label in data.labels."""

    name: str
    label: int
    is_test: bool | None


def read_manifest(said: Data, raw: dict[str, StoredObject], data: ObjectStore, project: str) -> list[Listed]:
    """The files that the manifest of a recipe names, in its order; `is_test` is None where it has no split.

    Raises MissingDataError, MalformedDataError or MismatchedDataError, with the line.
    """
    assert said.manifest is not None  # data_rules
    found = raw.get(said.manifest)
    if found is None:
        raise MissingDataError(
            f"{said.manifest} not found",
            place=data.uri(incoming_prefix(project)),
            hint=f"upload what data.manifest names, and the files that it lists, then {READY}",
        )
    place = data.uri(found.key)
    if found.bytes > MAX_MANIFEST_BYTES:
        raise MalformedDataError(f"has {found.bytes} bytes, more than {MAX_MANIFEST_BYTES}", place=place)
    try:
        text = read(found, data).decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise MalformedDataError("is not UTF-8", place=place, hint=_HINT) from fault
    lines = _json_lines if said.manifest.lower().endswith(_JSON_LINES) else _rows
    listed: list[Listed] = []
    seen: dict[str, int] = {}
    has_split = False
    for number, line in lines(text, place):
        where = f"{place} line {number}"
        name = beside(said.manifest, line.file)
        if name not in raw:
            raise MissingDataError(
                f"names {line.file!r}, which is not there",
                place=where,
                hint="paths are relative to the manifest; upload the file, or take its line out",
            )
        if name in seen:
            raise MismatchedDataError(
                f"names {line.file!r}, as line {seen[name]} does", place=where, hint="name each file once"
            )
        if line.label not in said.labels:
            raise MismatchedDataError(
                f"has label {line.label!r}, which is none of data.labels",
                place=where,
                hint=f"data.labels are {', '.join(said.labels[:5])}{', …' if len(said.labels) > 5 else ''}",
            )
        if line.split is not None and line.split not in SPLITS:
            raise MismatchedDataError(
                f"has split {line.split!r}", place=where, hint=f"a split is {' or '.join(SPLITS)}"
            )
        if listed and (line.split is not None) != has_split:
            raise MismatchedDataError(
                "has a split where others have none" if line.split else "has no split where others have one",
                place=where,
                hint="say the split of every file, or of none",
            )
        has_split = line.split is not None
        seen[name] = number
        listed.append(
            Listed(name, said.labels.index(line.label), line.split == "test" if has_split else None)
        )
    if not listed:
        raise MissingDataError("names no files", place=place, hint=_HINT)
    if has_split and not any(one.is_test for one in listed):
        raise MissingDataError(
            "has no line of split test", place=place, hint="add some, or leave the column out"
        )
    if has_split and said.test_fraction is not None:
        raise MismatchedDataError(
            "says which files are the test's, and data.test_fraction does too",
            place=place,
            hint="leave one out",
        )
    return listed


def _rows(text: str, place: str) -> Iterator[tuple[int, _Line]]:
    rows = iterate_rows(text, find_delimiter(text.partition("\n")[0]), place=place)
    first = next(rows, None)
    names = read_header(first[1], place=place) if first else []
    if not {"file", "label"} <= set(names) <= set(COLUMNS):
        raise MalformedDataError(f"has the columns {', '.join(names)}", place=place, hint=_HINT)
    for number, cells in rows:
        if len(cells) != len(names):
            raise MalformedDataError(
                f"has {len(cells)} cells, the header {len(names)}", place=f"{place} line {number}"
            )
        yield number, _Line(**dict(zip(names, (cell.strip() for cell in cells), strict=True)))


def _json_lines(text: str, place: str) -> Iterator[tuple[int, _Line]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, msgspec.json.decode(line, type=_Line)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as fault:
            raise MalformedDataError(
                f"cannot be read: {fault}", place=f"{place} line {number}", hint=_HINT
            ) from fault

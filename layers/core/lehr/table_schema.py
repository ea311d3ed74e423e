"""The schema of a table: what the recipe says of its columns, and for the rest what the first rows show.

A column is one of numbers if the cells that say something are, but for a share that data.max_refused_fraction allows to
be refused; a column of nothing is left out. The target and whatever the recipe calls "ignore" are no inputs.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lehr.contracts.data_rules import DEFAULT_MAX_REFUSED_FRACTION, DEFAULT_MISSING, REGRESSIONS
from lehr.contracts.recipe import Recipe
from lehr.contracts.tables import Column, ColumnKind, TableSchema
from lehr.csv_rows import find_delimiter, iterate_rows, read_header
from lehr.errors import MalformedDataError, MismatchedDataError
from lehr.idx import is_gzipped
from lehr.jsonl_rows import Cell, jsonl_rows
from lehr.number_cells import read_number
from lehr.slicing import refuse_unknown_columns

SAMPLE_BYTES = 1 << 20
MAX_SAMPLE_CHARACTERS = 8 << 20
MAX_COLUMNS_TOLD = 40


@dataclass(frozen=True)
class Inferred:
    """The schema, a line for each column on how it came about, and how many rows a byte of the file has."""

    schema: TableSchema
    report: list[str]
    rows_per_byte: float

    @property
    def summary(self) -> str:
        """The report in one line; of a wide table as much of it as a person reads."""
        shown = "; ".join(self.report[:MAX_COLUMNS_TOLD])
        more = len(self.report) - MAX_COLUMNS_TOLD
        return f"{len(self.schema.columns)} columns: {shown}" + (f"; and {more} more" if more > 0 else "")


def infer_schema(recipe: Recipe, start: bytes, *, is_whole: bool, place: str) -> Inferred:
    """From the first bytes of a text, gzipped or plain. Raises DataError's children naming `place`."""
    data = recipe.data
    text, read_bytes = _sample(start, is_whole=is_whole, place=place)
    delimiter = ""
    if data.format == "jsonl":
        names, rows = jsonl_rows(text, data.columns, place=place)
    else:
        delimiter = data.delimiter or find_delimiter(text.partition("\n")[0])
        lines = [cells for _, cells in iterate_rows(text, delimiter, place=place)]
        names = read_header(lines[0], place=place) if lines else []
        rows = [[cell.strip() for cell in cells] for cells in lines[1:]]
    if not rows:
        raise MalformedDataError("has no rows" + " below its header" * bool(delimiter), place=place)
    sample = [row for row in rows if len(row) == len(names)]
    columns, report = _columns(recipe, names, sample, place)
    refuse_unknown_columns(recipe, columns, place=place)
    return Inferred(_schema(recipe, columns, delimiter), report, len(rows) / read_bytes)


def infer_typed_schema(
    recipe: Recipe, kinds: Mapping[str, ColumnKind | str], *, rows: int, size: int, place: str
) -> Inferred:
    """Of a file of `rows` rows and `size` bytes that says what its columns are: a kind, or why a column is neither.

    Raises MismatchedDataError.
    """
    _refuse_absent(recipe, list(kinds), place)
    columns, report = [], []
    for name, kind in kinds.items():
        told = recipe.data.columns.get(name)
        if name == recipe.data.target or told in ("ignore", "pii_drop"):
            if told:
                report.append(f"{name}: left out, as told")
            continue
        if kind not in ("number", "category"):
            raise MismatchedDataError(
                f"the column {name} {kind}",
                place=place,
                hint=f'leave it out with data.columns: "{name}" = "ignore"',
            )
        if told == "number" and kind == "category":
            raise MismatchedDataError(
                f"the column {name} has texts, not numbers", place=place, hint="leave it out of data.columns"
            )
        if told == "pii_hash":
            columns.append(Column(name=name, kind="category", hashed_for=recipe.project.name))
            report.append(f"{name}: category (told), hashed")
            continue
        decided: ColumnKind = told if told == "number" or told == "category" else _kind(kind)
        columns.append(Column(name=name, kind=decided))
        report.append(f"{name}: {decided} ({'told' if told else 'as its type'})")
    if not columns:
        raise MismatchedDataError("leaves no column to learn from", place=place, hint="see data.columns")
    refuse_unknown_columns(recipe, columns, place=place)
    return Inferred(_schema(recipe, columns, ""), report, rows / max(1, size))


def _kind(kind: str) -> ColumnKind:
    return "number" if kind == "number" else "category"


def _schema(recipe: Recipe, columns: list[Column], delimiter: str) -> TableSchema:
    data = recipe.data
    labels = [] if recipe.project.task in REGRESSIONS else data.labels
    missing = sorted(set(DEFAULT_MISSING if data.missing is None else data.missing))
    return TableSchema(
        columns=columns, target=data.target, labels=labels, delimiter=delimiter, missing=missing
    )


def _refuse_absent(recipe: Recipe, names: Sequence[str], place: str) -> None:
    for name in (recipe.data.target, *recipe.data.columns):
        if name not in names:
            raise MismatchedDataError(
                f"has no column {name!r}: it has {', '.join(names[:40])}",
                place=place,
                hint="put data.target and data.columns right"
                + (", or data.delimiter" if recipe.data.format == "csv" else ""),
            )


def _columns(
    recipe: Recipe, names: Sequence[str], rows: Sequence[Sequence[Cell]], place: str
) -> tuple[list[Column], list[str]]:
    """What each column is, and a line on how that came about."""
    data = recipe.data
    _refuse_absent(recipe, names, place)
    missing: set[Cell] = {None, *(DEFAULT_MISSING if data.missing is None else data.missing)}
    allowed = data.max_refused_fraction
    allowed = DEFAULT_MAX_REFUSED_FRACTION if allowed is None else allowed
    columns, report = [], []
    for number, name in enumerate(names):
        if name == data.target:
            continue
        told = data.columns.get(name)
        given = [cell for row in rows if (cell := row[number]) not in missing]
        if told in ("ignore", "pii_drop") or not (told or given):
            report.append(f"{name}: left out, {'as told' if told else 'no row of the first has a value'}")
            continue
        if told == "pii_hash":
            columns.append(Column(name=name, kind="category", hashed_for=recipe.project.name))
            report.append(f"{name}: category (told), hashed")
            continue
        others = sum(not _is_number(cell, data.format) for cell in given)
        kind: ColumnKind = "number" if others <= allowed * len(given) else "category"
        if told == "number" or told == "category":
            kind = told
        columns.append(Column(name=name, kind=kind))
        values = (
            f", {len(set(given))} values" if kind == "category" else f", {others} are none" if others else ""
        )
        report.append(f"{name}: {kind} ({'told' if told else f'inferred from {len(given)} rows{values}'})")
    if not columns:
        raise MismatchedDataError("leaves no column to learn from", place=place, hint="see data.columns")
    return columns, report


def _is_number(cell: Cell, data_format: str) -> bool:
    """Whether a cell is a number: a text of JSON is none, whatever it says."""
    if not isinstance(cell, str):
        return True
    try:
        read_number(cell)
    except ValueError:
        return False
    return data_format != "jsonl"


def _sample(start: bytes, *, is_whole: bool, place: str) -> tuple[str, int]:
    """The text of the first bytes up to the last line that is whole, and about how many bytes that is of the file."""
    read_bytes = len(start)
    if is_gzipped(start):
        try:
            inflater = zlib.decompressobj(wbits=31)
            inflated = inflater.decompress(start, MAX_SAMPLE_CHARACTERS)
        except zlib.error as fault:
            raise MalformedDataError(f"is not a gzip file: {fault}", place=place) from fault
        # A file may consist of several members, one behind the other, of which this is the first.
        is_whole, start = is_whole and inflater.eof and not inflater.unused_data, inflated
        read_bytes -= len(inflater.unconsumed_tail) + len(inflater.unused_data)
    if not is_whole:
        start = start[: start.rfind(b"\n") + 1]
    try:
        return start.decode("utf-8-sig"), max(1, read_bytes)
    except UnicodeDecodeError as fault:
        raise MalformedDataError(
            f"is not UTF-8 at byte {fault.start}",
            place=place,
            hint="save it as UTF-8, gzipped or plain",
        ) from fault

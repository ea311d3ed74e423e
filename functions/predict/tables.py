"""Rows of a table from JSON or CSV, by the names of their columns or in their order."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec

from functions.predict.problems import misfit
from functions.predict.requests import MAX_BATCH
from lehr.contracts.package import TableSignature
from lehr.errors import MalformedDataError
from lehr.http.problems import Problem
from lehr_runtime.tables import Inputs, as_inputs, read_values

INSTANCES = "instances"
FIELDS = (INSTANCES, "inputs")


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What is posted to a model of a table: one of two names for the same."""

    instances: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_body_decoder = msgspec.json.Decoder(Body)
_value_decoder = msgspec.json.Decoder(Any)


def parse_table(raw: bytes, table: TableSignature, pii_key: str = "") -> Inputs:
    """1 to MAX_BATCH rows: objects by the names of the columns, or arrays in the order of the columns.

    A single row may stand alone. Raises Problem: 400 for what is no JSON, 422 for what does not fit.
    """
    field, value = _only_value(raw)
    if isinstance(value, dict) or (
        isinstance(value, list) and value and not isinstance(value[0], list | dict)
    ):
        value = [value]
    expected = f"1 to {MAX_BATCH} objects with the columns {_names(table)}"
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_BATCH:
        got = f"{len(value)} of them" if isinstance(value, list) else "something else"
        raise misfit(field, f'"{field}" does not hold rows.', expected=expected, got=got)
    try:
        rows = list(_in_order(value, table, field))
        return as_inputs(read_values(table.columns, table.missing, rows, pii_key))
    except MalformedDataError as fault:
        place = f"{field}{fault.place}"
        raise misfit(
            place, f"{place}: {fault.message}.", expected="a value of the column", got=fault.message
        ) from fault


def parse_table_csv(raw: bytes, table: TableSignature, pii_key: str = "") -> Inputs:
    """1 to MAX_BATCH rows of CSV, in the order of a first line of names, or without one in that of the columns.

    Raises Problem: 400 for what is not UTF-8, 422 for what does not fit.
    """
    from lehr_runtime.table_files import read_csv

    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise Problem(HTTPStatus.BAD_REQUEST, "csv", "The body is not UTF-8.") from fault
    try:
        return as_inputs(read_csv(text, table.columns, table.missing, max_rows=MAX_BATCH, pii_key=pii_key))
    except MalformedDataError as fault:
        expected = f"1 to {MAX_BATCH} rows of the columns {_names(table)}"
        raise misfit(
            fault.place, f"{fault.place}: {fault.message}.", expected=expected, got=fault.message
        ) from fault


def _only_value(raw: bytes) -> tuple[str, Any]:
    try:
        body = _body_decoder.decode(raw)
        fields = {name: value for name in FIELDS if (value := getattr(body, name)) is not msgspec.UNSET}
        if len(fields) != 1:
            raise misfit(
                INSTANCES,
                f"Give one of {', '.join(FIELDS)}.",
                expected=f'an object with "{INSTANCES}"',
                got=f"{len(fields)} of them",
            )
        ((name, value),) = fields.items()
        return name, _decode(name, value)
    except msgspec.ValidationError as fault:
        raise misfit(
            INSTANCES,
            f'The body must be an object with "{INSTANCES}".',
            expected=f'an object with "{INSTANCES}"',
            got="something else",
        ) from fault
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Problem(HTTPStatus.BAD_REQUEST, "json", "The body is not JSON.") from fault


def _decode(name: str, value: msgspec.Raw) -> Any:
    try:
        return _value_decoder.decode(value)
    except msgspec.ValidationError as fault:  # JSON allows 1e999, no number type does
        expected, got = "numbers that fit", "a number beyond 64 bits"
        raise misfit(name, "A number is out of range.", expected=expected, got=got) from fault


def _in_order(rows: list[Any], table: TableSignature, field: str) -> Iterator[list[Any]]:
    """The values of each row in the columns' order. Raises Problem for a row that has others, or lacks one."""
    names = [column.name for column in table.columns]
    known = {*names, table.target}
    for index, row in enumerate(rows):
        place = f"{field}[{index}]"
        if isinstance(row, list):
            if len(row) != len(names):
                got = f"an array of {len(row)}"
                raise misfit(place, f"{place} does not fit.", expected=f"an array of {len(names)}", got=got)
            yield row
            continue
        if not isinstance(row, dict):
            raise misfit(place, f"{place} is no row.", expected="an object or an array", got="something else")
        absent = next((name for name in names if name not in row), None)
        if absent is not None:
            where = f"{place}.{absent}"
            raise misfit(
                where, f"{where} is not there.", expected="a value, or null if it is missing", got="none"
            )
        if not known.issuperset(row):
            raise misfit(place, f"{place} has a column too many.", expected=_names(table), got="another name")
        yield [row[name] for name in names]


def _names(table: TableSignature) -> str:
    return ", ".join(column.name for column in table.columns)[:1000]

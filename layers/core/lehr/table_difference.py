"""What tells the rows of two tables apart: a candidate and the champion must be asked with the same ones."""

from __future__ import annotations

from lehr.contracts.package import TableSignature
from lehr.contracts.tables import TableSchema

WAY_OUT = (
    "say in data.columns and data.missing what the champion was trained with, "
    "or train it under another project.name"
)
_SHOWN = 10


def table_difference(one: TableSchema | TableSignature, other: TableSchema | TableSignature) -> str:
    """The first of columns, target, order and missing cells that the two differ in; empty for none."""
    kinds = [
        {column.name: (column.kind, column.hashed_for) for column in table.columns} for table in (one, other)
    ]
    names = [name for name in kinds[0] | kinds[1] if kinds[0].get(name) != kinds[1].get(name)]
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"the columns {', '.join(names[:_SHOWN])}{more}"
    if one.target != other.target:
        return f"their target, {one.target} and {other.target}"
    if one.columns != other.columns:
        return "the order of their columns"
    return "" if set(one.missing) == set(other.missing) else "the cells that are missing values"

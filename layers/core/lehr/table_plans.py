"""The schema of a plan's units: in each of them, or once in S3 where it would make a long plan longer still."""

from __future__ import annotations

import msgspec

from lehr import layout
from lehr.contracts.table_units import PlannedTable, PrepareTableUnit
from lehr.contracts.tables import TableSchema
from lehr.errors import ContractError
from lehr.ports import ObjectStore

# Step Functions passes 256 KiB to a call, and reads the whole plan before it makes the first.
MAX_UNIT_BYTES = 128 << 10
MAX_PLAN_BYTES = 4 << 20
_NOTHING = TableSchema(columns=[], target="", labels=[], delimiter="", missing=[])


def share_table(units: list[PrepareTableUnit]) -> tuple[list[PrepareTableUnit], dict[str, PlannedTable]]:
    """The units, and what goes into S3 for them by its key: nothing, if the schema is small enough for every unit."""
    size = max(len(unit.to_json()) for unit in units)
    if size <= MAX_UNIT_BYTES and size * len(units) <= MAX_PLAN_BYTES:
        return units, {}
    key = layout.table_schema_key(units[0].project, units[0].run)
    shared = [msgspec.structs.replace(unit, table=_NOTHING, table_key=key) for unit in units]
    return shared, {key: PlannedTable(table=units[0].table)}


def with_table(unit: PrepareTableUnit, artifacts: ObjectStore) -> PrepareTableUnit:
    """The unit with its schema. Raises ContractError if that is not where the unit says."""
    if not unit.table_key:
        return unit
    try:
        raw = artifacts.get(unit.table_key)
    except KeyError as fault:
        raise ContractError(f"the unit's table {artifacts.uri(unit.table_key)} is not there") from fault
    return msgspec.structs.replace(unit, table=PlannedTable.from_json(raw).table, table_key="")

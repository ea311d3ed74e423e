"""A unit of any kind, prepared by what prepares that kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.prepare_shard.files import prepare_files
from functions.prepare_shard.prepare import prepare
from functions.prepare_shard.tables import prepare_table
from lehr.contracts.dataset import PrepareUnit, UnitResult
from lehr.contracts.file_units import PrepareFilesUnit
from lehr.contracts.table_units import PrepareTableUnit, TableUnitResult
from lehr.ports import ObjectStore

Unit = PrepareUnit | PrepareTableUnit | PrepareFilesUnit
Result = UnitResult | TableUnitResult


def read_unit(value: Mapping[str, Any]) -> Unit:
    """The unit of a plan. Raises ContractError for what is none."""
    match value.get("kind"):
        case "table":
            return PrepareTableUnit.from_value(value)
        case "files":
            return PrepareFilesUnit.from_value(value)
        case _:
            return PrepareUnit.from_value(value)


def prepare_unit(unit: Unit, data: ObjectStore, artifacts: ObjectStore, pii_key: str = "") -> Result:
    """Write the unit's shards and its result; `pii_key` is the secret of a table's pseudonyms.

    Raises DataError's children for data to put right, ContractError."""
    match unit:
        case PrepareTableUnit():
            return prepare_table(unit, data, artifacts, pii_key)
        case PrepareFilesUnit():
            return prepare_files(unit, data, artifacts)
        case _:
            return prepare(unit, data, artifacts)

"""Several units of a plan in one call, one after the other: each as if it had a call of its own, in the same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from functions.prepare_shard.tables import prepare_part
from functions.prepare_shard.units import Result, Unit, prepare_unit, read_unit
from lehr import layout
from lehr.contracts.prepare_calls import PrepareCall
from lehr.contracts.table_units import PrepareTableUnit
from lehr.errors import ContractError
from lehr.ports import ObjectStore


def prepare_call(
    call: PrepareCall,
    data: ObjectStore,
    artifacts: ObjectStore,
    pii_key: str = "",
    *,
    is_late: Callable[[], bool],
    may_begin: Callable[[], bool],
) -> tuple[list[Result], PrepareCall | None]:
    """Results of the units that are done, and what is left for the next call; None if nothing is.

    After each unit `may_begin` says whether the next still fits, and `is_late` is asked within a table. Raises as
    `prepare_unit` does, ContractError for units that the plan does not have.
    """
    units = _units(call, artifacts)
    results: list[Result] = []
    for place, unit in enumerate(units):
        left = msgspec.structs.replace(
            call, first=call.first + place, count=call.count - place, rest=msgspec.UNSET
        )
        if results and not may_begin():
            return results, left
        answer = prepare_until(unit, data, artifacts, pii_key, is_late=is_late)
        if isinstance(answer, PrepareTableUnit):
            return results, msgspec.structs.replace(left, rest=answer)
        results.append(answer)
    return results, None


def prepare_until(
    unit: Unit, data: ObjectStore, artifacts: ObjectStore, pii_key: str, *, is_late: Callable[[], bool]
) -> Result | PrepareTableUnit:
    """The unit's result, or what is left of a table's when `is_late` says so. Raises as `prepare_unit` does."""
    if isinstance(unit, PrepareTableUnit):
        return prepare_part(unit, data, artifacts, pii_key, is_late=is_late)
    return prepare_unit(unit, data, artifacts)


def _units(call: PrepareCall, artifacts: ObjectStore) -> list[Unit]:
    key = layout.plan_key(call.project, call.run)
    try:
        plan = msgspec.json.decode(artifacts.get(key), type=list[dict[str, Any]])
    except KeyError as fault:
        raise ContractError(f"the plan {artifacts.uri(key)} is not there") from fault
    if not (call.first >= 0 and 0 < call.count <= len(plan) - call.first):
        raise ContractError(
            f"the call asks for units {call.first} to {call.first + call.count} of {len(plan)}"
        )
    units = [read_unit(one) for one in plan[call.first : call.first + call.count]]
    if isinstance(call.rest, PrepareTableUnit):
        units[0] = call.rest
    return units

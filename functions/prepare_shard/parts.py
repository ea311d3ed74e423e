"""A unit that takes several calls: what each has written, and where the next goes on.

A call that runs short of time writes what it has read, under keys that say from where to where that is, and hands the
rest over. How far it came is a matter of time, so a call that is made twice may come to two places: what counts is the
record that was written first, and whoever comes second goes on from there too. So a retry or a second delivery adds
keys that nobody reads, and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from functions.prepare_shard.table_sources import AT_END
from lehr import layout
from lehr.contracts.table_units import NumberSums, PrepareTableUnit, TablePart, TableUnitResult
from lehr.errors import ContractError, OverwriteError
from lehr.ports import ObjectStore


def settle(
    unit: PrepareTableUnit, result: TableUnitResult, next_first: int, artifacts: ObjectStore
) -> TableUnitResult | PrepareTableUnit:
    """What the unit has come to: its result, out of all its parts, or the rest of it for the next call."""
    if unit.part or next_first != AT_END:
        part = _record(unit, TablePart(result=result, next_first=next_first), artifacts)
        if part.next_first != AT_END:
            return _rest(unit, part.next_first)
        earlier = [_part(unit, number, artifacts).result for number in range(unit.part)]
        result = _merged([*earlier, part.result])
    key = layout.unit_result_key(unit.project, unit.run, unit.index)
    artifacts.put(key, result.to_json(), content_type="application/json")
    return result


def _record(unit: PrepareTableUnit, part: TablePart, artifacts: ObjectStore) -> TablePart:
    """The part as it was written first."""
    key = layout.unit_part_key(unit.project, unit.run, unit.index, unit.part)
    try:
        artifacts.put_once(key, part.to_json(), content_type="application/json")
    except OverwriteError:
        return _part(unit, unit.part, artifacts)
    return part


def _part(unit: PrepareTableUnit, number: int, artifacts: ObjectStore) -> TablePart:
    key = layout.unit_part_key(unit.project, unit.run, unit.index, number)
    try:
        return TablePart.from_json(artifacts.get(key))
    except KeyError as fault:
        raise ContractError(f"part {number} of unit {unit.index} has left no record") from fault


def _rest(unit: PrepareTableUnit, first: int) -> PrepareTableUnit:
    count = unit.first + unit.count - first if unit.count else 0
    return msgspec.structs.replace(unit, first=first, count=count, part=unit.part + 1)


def _merged(results: Sequence[TableUnitResult]) -> TableUnitResult:
    return TableUnitResult(
        index=results[0].index,
        shards=[shard for result in results for shard in result.shards],
        numbers=[_sums(column) for column in zip(*(result.numbers for result in results), strict=True)],
        categories=[
            _counts(column) for column in zip(*(result.categories for result in results), strict=True)
        ],
        target=_sums([result.target for result in results]),
        refused=sum(result.refused for result in results),
        parts=[part for result in results for part in result.parts],
    )


def _sums(parts: Sequence[NumberSums]) -> NumberSums:
    return NumberSums(
        rows=sum(part.rows for part in parts),
        missing=sum(part.missing for part in parts),
        total=sum(part.total for part in parts),
        squares=sum(part.squares for part in parts),
    )


def _counts(parts: Sequence[dict[str, int]]) -> dict[str, int]:
    together: Counter[str] = Counter()
    for part in parts:
        together.update(part)
    return dict(sorted(together.items()))

"""Which values of a number are possible, as [checks.ranges] says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from functions.prepare_shard.table_blocks import Block, TableReader
from lehr.contracts.data_tables import Range
from lehr.contracts.table_units import PrepareTableUnit


class Ranges:
    """Holds rows against the bounds of their columns; a missing number is within any, since NaN compares as false.

    `outside` counts the values that were not, by column.
    """

    def __init__(self, unit: PrepareTableUnit, reader: TableReader) -> None:
        self._bounds = [
            (reader.numbers.index(name), name, one)
            for name, one in unit.ranges.items()
            if name in reader.numbers
        ]
        self._target = None if unit.table.labels else unit.ranges.get(unit.table.target)
        self._name, self._refuses, self._reader = unit.table.target, unit.refuses_out_of_range, reader
        self.outside: dict[str, int] = {}

    def hold(self, block: Block) -> Block:
        """Count what lies outside; without the rows of such values where they are to be set aside."""
        problems: dict[int, str] = {}
        for place, name, bounds in self._bounds:
            self._look(name, block.numbers[:, place], bounds, problems)
        if self._target is not None:
            self._look(self._name, block.targets, self._target, problems)
        if not problems or not self._refuses:
            return block
        kept = np.ones(len(block.targets), dtype=bool)
        kept[list(problems)] = False
        refused = [self._reader.refused(int(block.lines[row]), why) for row, why in problems.items()]
        return replace(
            block,
            numbers=block.numbers[kept],
            codes=block.codes[kept],
            targets=block.targets[kept],
            lines=block.lines[kept],
            refused=sorted([*block.refused, *refused], key=lambda one: one.line),
        )

    def _look(self, name: str, column: np.ndarray, bounds: Range, problems: dict[int, str]) -> None:
        below = column < bounds.min if bounds.min is not None else np.zeros(len(column), dtype=bool)
        above = column > bounds.max if bounds.max is not None else np.zeros(len(column), dtype=bool)
        rows = np.flatnonzero(below | above)
        if len(rows):
            self.outside[name] = self.outside.get(name, 0) + len(rows)
        for row in rows.tolist():
            problems.setdefault(row, f"{name}: {column[row]:g} is outside {told_range(bounds)}")


def told_range(bounds: Range) -> str:
    """The bounds in words."""
    if bounds.min is None:
        return f"the range up to {bounds.max:g}"
    return f"the range from {bounds.min:g}" + ("" if bounds.max is None else f" to {bounds.max:g}")

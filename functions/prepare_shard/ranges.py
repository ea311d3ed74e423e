"""Which values of a number are possible, as [checks.ranges] says."""

from __future__ import annotations

from collections.abc import Sequence

from lehr.contracts.recipe_tables import Range
from lehr.contracts.table_units import PrepareTableUnit


class Ranges:
    """Holds rows against the bounds of their columns; a missing number is within any, since NaN compares as false.

    `outside` counts the values that were not, by column.
    """

    def __init__(self, unit: PrepareTableUnit) -> None:
        names = unit.table.named("number")
        self._bounds = [(names.index(name), name, one) for name, one in unit.ranges.items() if name in names]
        self._target = None if unit.table.labels else unit.ranges.get(unit.table.target)
        self._name, self._refuses = unit.table.target, unit.refuses_out_of_range
        self.outside: dict[str, int] = {}

    def check(self, numbers: Sequence[float], target: float) -> None:
        """Count what lies outside; raises ValueError for the first of a row where such rows are to be set aside."""
        for place, name, bounds in self._bounds:
            self._hold(name, numbers[place], bounds)
        if self._target is not None:
            self._hold(self._name, target, self._target)

    def _hold(self, name: str, value: float, bounds: Range) -> None:
        if (bounds.min is None or not value < bounds.min) and (bounds.max is None or not value > bounds.max):
            return
        self.outside[name] = self.outside.get(name, 0) + 1
        if self._refuses:
            raise ValueError(f"{name}: {value:g} is outside {told_range(bounds)}")


def told_range(bounds: Range) -> str:
    """The bounds in words."""
    if bounds.min is None:
        return f"the range up to {bounds.max:g}"
    return f"the range from {bounds.min:g}" + ("" if bounds.max is None else f" to {bounds.max:g}")

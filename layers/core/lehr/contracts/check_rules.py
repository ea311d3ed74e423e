"""Which keys of [checks] have a meaning for which data: the others would be ignored, so they are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lehr.contracts.data_rules import REGRESSIONS, Misfits, is_table
from lehr.contracts.data_tables import Checks
from lehr.errors import RecipeError

if TYPE_CHECKING:
    from lehr.contracts.recipe import Recipe

_OF_TABLES = ("missing", "max_missing_fraction", "out_of_range", "ranges")
_OF_LABELS = ("balance", "min_class_fraction", "min_class_rows")


def refuse_check_misfits(recipe: Recipe, *, place: str) -> None:
    """Raise RecipeError, with `place`, for the first key that the task gives no meaning."""
    for message, hint in _misfits(recipe):
        raise RecipeError(message, place=place, hint=hint)


def _misfits(recipe: Recipe) -> Misfits:
    checks, task, default = recipe.checks, recipe.project.task, Checks()
    said = {key for key in Checks.__struct_fields__ if getattr(checks, key) != getattr(default, key)}
    for key in _OF_TABLES:
        if key in said and not is_table(task):
            yield f"checks.{key} looks at the columns of a table", f"leave it out: the task is {task}"
    for key in _OF_LABELS:
        if key in said and task in REGRESSIONS:
            yield f"checks.{key} looks at labels", f"leave it out: {task} has none"
    if "out_of_range" in said and not checks.ranges:
        yield (
            "checks.out_of_range has nothing to look at",
            "say what is possible: [checks.ranges] age = { min = 0, max = 120 }",
        )
    for name, bounds in checks.ranges.items():
        if bounds.min is None and bounds.max is None:
            yield (
                f"checks.ranges.{name} has neither min nor max",
                "write { min = 0, max = 120 }, or one of them",
            )
        if bounds.min is not None and bounds.max is not None and bounds.min > bounds.max:
            yield f"checks.ranges.{name} has min {bounds.min:g} above max {bounds.max:g}", "exchange them"
        if name == recipe.data.target and task not in REGRESSIONS:
            yield f"checks.ranges names {name!r}, which is a label", "its values are those of data.labels"
        if recipe.data.columns.get(name, "number") != "number":
            yield f"checks.ranges names {name!r}, which is no number", "leave it out, or see data.columns"

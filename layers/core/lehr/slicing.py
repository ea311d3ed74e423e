"""From [evaluation.slices] of the recipe to slices with names, once the data is known."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from lehr.contracts.comparison import MAX_SLICES, Slicing
from lehr.contracts.gate_keys import LABEL, is_by_value, rule_for
from lehr.contracts.profile import QUANTILES, DatasetStatistics
from lehr.contracts.recipe import Recipe
from lehr.contracts.tables import Column
from lehr.errors import RecipeError


def refuse_unknown_columns(recipe: Recipe, columns: Sequence[Column], *, place: str) -> None:
    """Raise RecipeError for a slicing by a column that the table has not, or that is of another kind."""
    kinds = {column.name: column.kind for column in columns}
    for by, rule in recipe.evaluation.slices.items():
        if by == recipe.data.target:
            continue
        if by not in kinds:
            near = difflib.get_close_matches(by, kinds, n=1, cutoff=0.5)
            raise RecipeError(
                f"evaluation.slices names {by!r}, which is no column that the model has",
                place=place,
                hint=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(list(kinds)[:40])}",
            )
        if is_by_value(rule) != (kinds[by] == "category"):
            raise RecipeError(
                f"evaluation.slices.{by} is a column of {kinds[by]}", place=place, hint=rule_for(kinds[by])
            )


def plan_slices(recipe: Recipe, statistics: DatasetStatistics | None) -> list[Slicing]:
    """The slicings of the recipe: "each" is the commonest values of the training rows, "quartiles" are theirs.

    `statistics` may be None where the recipe names all values and edges. A number of one value alone has no quartiles
    to tell apart, and all its rows are in one slice.
    """
    return [_planned(recipe, statistics, by) for by in recipe.evaluation.slices]


def needs_statistics(recipe: Recipe) -> bool:
    """Whether a slicing is left to what the training rows are like."""
    return any(isinstance(rule, str) for rule in recipe.evaluation.slices.values())


def _planned(recipe: Recipe, statistics: DatasetStatistics | None, by: str) -> Slicing:
    rule = recipe.evaluation.slices[by]
    if not isinstance(rule, str):
        values = [one for one in rule if isinstance(one, str)]
        return Slicing(by=by, values=values, edges=[one for one in rule if not isinstance(one, str)])
    if rule == "each":
        if by in (recipe.data.target, LABEL):
            return Slicing(by=by, values=list(recipe.data.labels[:MAX_SLICES]))
        columns = statistics.categories if statistics else []
        top = next((column.top for column in columns if column.name == by), [])
        return Slicing(by=by, values=[one.value for one in top[:MAX_SLICES] if one.value])
    numbers = [*statistics.numbers, *([statistics.target] if statistics.target else [])] if statistics else []
    quantiles = next((number.quantiles for number in numbers if number.name == by), [])
    quarter = (QUANTILES - 1) // 4
    return Slicing(by=by, edges=sorted(set(quantiles[quarter::quarter][:3])))

"""Which settings of [trials] belong together, and whether every trial that can be foreseen would train.

What is wrong with a sweep is said when the recipe is read, not after half of its trials.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lehr.contracts.rungs import DEFAULT_ETA, DEFAULT_MIN_EPOCHS
from lehr.contracts.search_space import (
    MAX_TRIALS,
    Point,
    describe,
    grid_points,
    random_points,
    read_space,
    size,
)
from lehr.errors import RecipeError

if TYPE_CHECKING:
    from lehr.contracts.recipe import Recipe

COUNTED = ("random", "tpe", "successive_halving")


def refuse_bad_sweep(recipe: Recipe, place: str) -> None:
    """Raise RecipeError for the first setting of [trials] that the others give no meaning, or that cannot train."""
    for message, hint in _misfits(recipe):
        raise RecipeError(message, place=f"{place}: trials", hint=hint)
    if recipe.trials.search:
        planned_points(recipe, place=place)


def planned_points(recipe: Recipe, *, place: str) -> list[Point]:
    """The points of all trials. Those of "tpe" are a stand-in: it chooses by what the trials before it gave."""
    from lehr.contracts.recipe import flat_keys

    trials = recipe.trials
    if not trials.search:
        return [flat_keys(override) for override in trials.overrides] or [{}]
    space = read_space(recipe, place=place)
    if trials.search == "grid":
        points = grid_points(space, place=place)
        for point in points:
            recipe.at_point(point, place=f"{place}: trials.space: {describe(point)}")
        return points
    available, wanted = size(space), trials.count or 0
    if available is not None and available < wanted:
        raise RecipeError(
            f"count = {wanted}, and the space has {available} points",
            place=f"{place}: trials",
            hint='lower the count, widen the space, or take search = "grid"',
        )
    return random_points(recipe, space, place=place)


def _misfits(recipe: Recipe) -> Iterator[tuple[str, str]]:
    trials, search = recipe.trials, recipe.trials.search
    if trials.objective and recipe.data.validation_fraction == 0:
        yield (
            f'objective = "{trials.objective}" needs held-out rows',
            "make data.validation_fraction more than 0, or leave objective out",
        )
    if len(trials.overrides) > MAX_TRIALS:
        yield f"overrides has {len(trials.overrides)} tables", f"at most {MAX_TRIALS} trials are trained"
    if not search:
        for key in ("space", "count", "eta", "min_epochs"):
            if getattr(trials, key):
                yield f"{key} has no meaning without search", 'add for example search = "random"'
        return
    if trials.overrides:
        yield "overrides and search both say which trials there are", "leave one out"
    if not trials.space:
        yield (
            f'search = "{search}" needs a space',
            "add for example [trials.space] with learning_rate = { low = 1e-4, high = 1e-1, log = true }",
        )
    if recipe.data.validation_fraction == 0:
        yield (
            f'search = "{search}" needs held-out rows to choose by',
            "make data.validation_fraction more than 0",
        )
    if search not in COUNTED and trials.count is not None:
        yield (
            f'count has no meaning for search = "{search}"',
            "a grid trains each of its points; leave it out",
        )
    if search in COUNTED and trials.count is None:
        yield f'search = "{search}" needs a count', "add for example count = 8, the number of trials"
    if trials.count is not None and trials.count > MAX_TRIALS:
        yield f"count is {trials.count}", f"at most {MAX_TRIALS} trials are trained"
    yield from _of_halving(recipe)


def _of_halving(recipe: Recipe) -> Iterator[tuple[str, str]]:
    trials, epochs = recipe.trials, recipe.training.epochs
    if trials.search != "successive_halving":
        for key in ("eta", "min_epochs"):
            if getattr(trials, key) is not None:
                yield (
                    f'{key} has no meaning for search = "{trials.search}"',
                    'it belongs to search = "successive_halving"; leave it out',
                )
        return
    if "epochs" in trials.space:
        yield (
            "successive halving decides itself how long a trial trains",
            "take epochs out of the space; training.epochs is the longest",
        )
    eta, shortest = trials.eta or DEFAULT_ETA, trials.min_epochs or DEFAULT_MIN_EPOCHS
    if shortest >= epochs:
        yield (
            f"min_epochs = {shortest} is not below training.epochs = {epochs}",
            'raise training.epochs, or take search = "random": every trial would train in full',
        )
    if (trials.count or eta) < eta:
        yield f"count = {trials.count} is less than eta = {eta}", "take more trials, or a smaller eta"

"""The tree-structured Parzen estimator of Optuna, asked anew in every round.

The study is rebuilt in memory from the recorded trials, so the function keeps nothing. Trials that were proposed in
this round and are not trained yet count as the worst (Optuna's constant liar), or a round would be one point several
times. A round has a random stream of its own, drawn from the recipe's seed: the same records give the same points.

Optuna: https://doi.org/10.1145/3292500.3330701; TPE: Bergstra et al. 2011.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from lehr.contracts.recipe import RECIPE_FILE, Recipe
from lehr.contracts.search_space import (
    MAX_DRAWS,
    Choice,
    Dimension,
    Point,
    fitting_point,
    read_space,
)
from lehr.contracts.sweep import TrialRecord
from lehr.errors import RecipeError
from lehr.sweeps import objective_of

# Optuna's own; of fewer trials a quarter, so that a short sweep has anything but a random part.
STARTUP_TRIALS = 10


def ask(recipe: Recipe, records: Sequence[TrialRecord], count: int) -> list[Point]:
    """`count` points for the next round, none proposed before."""
    space = read_space(recipe, place=RECIPE_FILE)
    distributions = {key: distribution(dimension) for key, dimension in space.items()}
    study = rebuild(recipe, records, distributions)
    points: list[Point] = []
    for number in range(count):
        taken = [dict(record.point) for record in records] + points
        points.append(_ask_one(recipe, study, space, distributions, taken, len(records) + number))
    return points


def rebuild(
    recipe: Recipe, records: Sequence[TrialRecord], distributions: Mapping[str, BaseDistribution]
) -> Study:
    """The study that has asked for these trials and been told what came of them."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    objective = objective_of(recipe)
    study = optuna.create_study(
        direction="minimize" if objective == "validation_loss" else "maximize",
        sampler=make_sampler(recipe, len(records)),
    )
    for record in records:
        known = record.objective is not None
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if known else TrialState.FAIL,
                value=record.objective if known else None,
                params={key: _to_optuna(record.point[key], distributions[key]) for key in distributions},
                distributions=dict(distributions),
            )
        )
    return study


def make_sampler(recipe: Recipe, trials: int) -> TPESampler:
    """The sampler of the round that begins after `trials` trials."""
    digest = hashlib.sha256(f"{recipe.trials.seed} {trials}".encode()).digest()
    return TPESampler(
        seed=int.from_bytes(digest[:4], "big"),
        n_startup_trials=min(STARTUP_TRIALS, max(1, (recipe.trials.count or 0) // 4)),
        constant_liar=True,
    )


def distribution(dimension: Dimension) -> BaseDistribution:
    """Optuna's name for a dimension. A list is a category by its text in JSON, as Optuna takes scalars only."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution([_category(value) for value in dimension.values])
    if dimension.is_integer:
        # Optuna has no step on a log scale, and no other integer than one in whole steps.
        step = 1 if dimension.is_log else int(dimension.step or 1)
        low, steps = int(dimension.low), (int(dimension.high) - int(dimension.low)) // step
        return IntDistribution(low, low + steps * step, log=dimension.is_log, step=step)
    high = dimension.high if dimension.step is None else (dimension.grid() or (dimension.high,))[-1]
    return FloatDistribution(dimension.low, high, log=dimension.is_log, step=dimension.step)


def _ask_one(
    recipe: Recipe,
    study: Study,
    space: Mapping[str, Dimension],
    distributions: Mapping[str, BaseDistribution],
    taken: list[Point],
    number: int,
) -> Point:
    """What is refused or known is told as failed, and another is asked for; in the end one is drawn at random."""
    for _ in range(MAX_DRAWS):
        trial = study.ask(dict(distributions))
        point = {key: _from_optuna(trial.params[key], space[key]) for key in space}
        if point not in taken and _fits(recipe, point):
            return point
        study.tell(trial, state=TrialState.FAIL)
    point = fitting_point(recipe, space, number, taken, place=RECIPE_FILE)
    study.enqueue_trial({key: _to_optuna(point[key], distributions[key]) for key in space})
    study.ask(dict(distributions))
    return point


def _fits(recipe: Recipe, point: Point) -> bool:
    try:
        recipe.at_point(point)
    except RecipeError:
        return False
    return True


def _category(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _to_optuna(value: Any, kind: BaseDistribution) -> Any:
    return _category(value) if isinstance(kind, CategoricalDistribution) else value


def _from_optuna(value: Any, dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return next(one for one in dimension.values if _category(one) == value)
    return value

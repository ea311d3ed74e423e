"""The rules of a sweep: which trial is better, which train next, when it is over. Pure: what is known is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from lehr.contracts.data_rules import REGRESSIONS, SEGMENTATIONS
from lehr.contracts.detection_rules import DETECTIONS
from lehr.contracts.recipe import MODEL_PREFIX, RECIPE_FILE, Recipe
from lehr.contracts.rungs import rungs_of
from lehr.contracts.search_space import Point
from lehr.contracts.sweep import DEFAULT_OBJECTIVE, Objective, TrialRecord
from lehr.contracts.sweep_rules import planned_points
from lehr.contracts.training import Trial, to_hyperparameters

# A state's output is 256 KiB at most, and a failed trial takes four of them.
ROUND_TRIALS = 40

# (the trials so far, the points taken, how many) -> points that another chooses by what the former gave
Ask = Callable[[Sequence[TrialRecord], int], list[Point]]


def objective_of(recipe: Recipe) -> Objective:
    if recipe.project.task in REGRESSIONS:
        return "validation_loss"
    if recipe.project.task in SEGMENTATIONS:
        # Without held-out images there is no IoU to go by.
        is_validated = recipe.data.validation_fraction > 0
        return recipe.trials.objective or ("validation_mean_iou" if is_validated else "validation_loss")
    if recipe.project.task in DETECTIONS:
        # Without held-out images there is no mAP to go by.
        is_validated = recipe.data.validation_fraction > 0
        return recipe.trials.objective or ("validation_map50" if is_validated else "validation_loss")
    return recipe.trials.objective or DEFAULT_OBJECTIVE


def planned_trials(recipe: Recipe) -> int:
    """How many trials there will be."""
    if recipe.trials.count is not None:
        return recipe.trials.count
    return len(planned_points(recipe, place=RECIPE_FILE))


def planned_trainings(recipe: Recipe) -> int:
    """How many training jobs there will be at most, but for further attempts: a trial has one for each rung."""
    return sum(rung.trials for rung in rungs_of(recipe, planned_trials(recipe)))


def planned_rounds(recipe: Recipe) -> int:
    """How many times trials are proposed, at most."""
    trials = planned_trials(recipe)
    size = recipe.trials.concurrency if recipe.trials.search == "tpe" else ROUND_TRIALS
    return sum(-(-rung.trials // size) for rung in rungs_of(recipe, trials))


def longest_training_s(recipe: Recipe) -> int:
    """How long all trainings take at most, so many at once, if each takes all of its time in one attempt."""
    size = recipe.trials.concurrency
    waves = sum(-(-rung.trials // size) for rung in rungs_of(recipe, planned_trials(recipe)))
    return waves * recipe.backend.max_runtime_s


def trials_at_once(recipe: Recipe) -> int:
    return min(recipe.trials.concurrency, planned_trials(recipe))


def ranked(records: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Those that completed, the best first; the lowest id wins a tie."""
    sign = 1.0 if objective == "validation_loss" else -1.0
    done = [record for record in records if record.objective is not None]
    return sorted(done, key=lambda record: (sign * (record.objective or 0.0), int(record.id)))


def best_of(records: Sequence[TrialRecord], objective: Objective) -> TrialRecord | None:
    """The best of the highest rung that any trial has completed: fewer epochs are not compared with more."""
    highest = max((record.rung for record in records if record.objective is not None), default=0)
    leaders = ranked([record for record in records if record.rung == highest], objective)
    return leaders[0] if leaders else None


def next_trials(
    recipe: Recipe, records: Sequence[TrialRecord], ask: Ask, *, wall_s: int | None = None
) -> list[Trial]:
    """The trials of the next round, at most ROUND_TRIALS, each of `wall_s` at most; none: the sweep is over."""
    make = partial(trial, recipe, wall_s=wall_s)
    if recipe.trials.search == "tpe":
        room = min(recipe.trials.concurrency, (recipe.trials.count or 0) - len(records))
        points = ask(records, room) if room > 0 else []
        return [make(len(records) + number, point) for number, point in enumerate(points)]
    planned = planned_points(recipe, place=RECIPE_FILE)
    rungs = rungs_of(recipe, len(planned))
    members = list(range(len(planned)))
    for number, rung in enumerate(rungs):
        trained = [record for record in records if record.rung == number]
        waiting = [member for member in members if str(member) not in {record.id for record in trained}]
        if waiting:
            epochs = None if rung.epochs == recipe.training.epochs else rung.epochs
            return [
                make(member, planned[member], rung=number, epochs=epochs if len(rungs) > 1 else None)
                for member in waiting[:ROUND_TRIALS]
            ]
        if number + 1 < len(rungs):
            promoted = ranked(trained, objective_of(recipe))[: rungs[number + 1].trials]
            members = sorted(int(record.id) for record in promoted)
    return []


def trial(
    recipe: Recipe,
    number: int,
    point: Point,
    *,
    rung: int = 0,
    epochs: int | None = None,
    wall_s: int | None = None,
) -> Trial:
    """The trial of a point. From the second rung on its name has a letter: a job's name is used once."""
    changed = {key.removeprefix(MODEL_PREFIX): point[key] for key in point if key.startswith(MODEL_PREFIX)}
    return Trial(
        id=str(number),
        name=f"{number}{chr(ord('a') + rung)}" if rung else str(number),
        rung=rung,
        point=point,
        hyperparameters=to_hyperparameters(recipe.at_point(point)[0], changed, epochs, wall_s),
    )


def has_failed(recipe: Recipe, records: Sequence[TrialRecord], *, is_over: bool) -> bool:
    """Whether more trials have failed than the recipe allows, or all of them have."""
    failed = {record.id for record in records if record.status == "failed"}
    if len(failed) > recipe.trials.max_failed_fraction * planned_trials(recipe):
        return True
    return is_over and best_of(records, objective_of(recipe)) is None

"""The recipe: `lehr.toml` of a project, everything a run needs to know beside the data.

An unknown key is an error with a suggestion, since a silently ignored `epoch = 50` costs a training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from lehr.contracts.backend_rules import refuse_backend_misfits
from lehr.contracts.check_rules import refuse_check_misfits
from lehr.contracts.data_rules import refuse_data
from lehr.contracts.data_tables import Checks, Data
from lehr.contracts.document import Document
from lehr.contracts.gate_keys import refuse_gate_misfits
from lehr.contracts.gate_tables import Evaluation, Gate
from lehr.contracts.hook_rules import refuse_hook_misfits
from lehr.contracts.model_rules import refuse_foreign_keys, refuse_model_misfits
from lehr.contracts.process_rules import refuse_process_misfits
from lehr.contracts.recipe_tables import (
    Approval,
    Augment,
    Backend,
    Budget,
    Hooks,
    Model,
    Project,
    Retrain,
    Rollout,
    Serving,
    Training,
    Trials,
    Watch,
)
from lehr.contracts.strict_tables import convert, refuse_unknown_keys
from lehr.contracts.sweep_rules import refuse_bad_sweep
from lehr.contracts.training_rules import DEFAULT_LOSS_OF_TASK, refuse_misfits
from lehr.errors import RecipeError

RECIPE_FILE = "lehr.toml"
MODEL_PREFIX = "model."


class Recipe(Document, frozen=True, kw_only=True):
    """lehr.toml, checked."""

    schema: Literal[1] = 1
    project: Project
    data: Data
    checks: Checks = Checks()
    model: Model = Model()
    hooks: Hooks = Hooks()
    augment: Augment = Augment()
    training: Training = Training()
    trials: Trials = Trials()
    backend: Backend = Backend()
    serving: Serving = Serving()
    evaluation: Evaluation = Evaluation()
    gate: Gate = Gate()
    approval: Approval = Approval()
    rollout: Rollout = Rollout()
    budget: Budget = Budget()
    watch: Watch = Watch()
    retrain: Retrain = Retrain()

    def trial_settings(self, *, place: str = RECIPE_FILE) -> list[Training]:
        """[training] of every trial, overrides applied. Raises RecipeError for an override that does not fit."""
        if not self.trials.overrides:
            return [self._fitting(self.training, f"{place}: training")]
        return [
            self.at_point(flat_keys(override), place=f"{place}: trials.overrides[{number}]")[0]
            for number, override in enumerate(self.trials.overrides)
        ]

    def at_point(self, point: Mapping[str, Any], *, place: str = RECIPE_FILE) -> tuple[Training, Model]:
        """[training] and [model] with other values by key, `model.` before a model's. Raises RecipeError."""
        training, model = self.converted(point, place=place)
        refuse_process_misfits(self.backend, [training], place=place)
        return self._fitting(training, place), model

    def converted(self, point: Mapping[str, Any], *, place: str) -> tuple[Training, Model]:
        """As `at_point`, but each value is held against its own type only."""
        changes = {key: value for key, value in point.items() if not key.startswith(MODEL_PREFIX)}
        model = {key.removeprefix(MODEL_PREFIX): point[key] for key in point.keys() - changes.keys()}
        refuse_unknown_keys(Training, changes, place, "")
        refuse_unknown_keys(Model, model, place, "model")
        if taken := model.keys() & {"name", "factory"}:
            raise RecipeError(
                f"model.{min(taken)} is no setting of a trial",
                place=place,
                hint="trials share one model: vary its other keys, or push another project",
            )
        if model and self.model.name == "custom":
            raise RecipeError(
                f"model.{min(model)} does not reach a factory of the project's own",
                place=place,
                hint="vary keys of [training]; what a factory builds is decided by its code",
            )
        refuse_foreign_keys(self.model.name, model, place)
        return (
            convert(msgspec.to_builtins(self.training) | changes, Training, place),
            convert(msgspec.to_builtins(self.model) | model, Model, place),
        )

    def _fitting(self, training: Training, place: str) -> Training:
        refuse_misfits(
            training,
            task=self.project.task,
            labels=len(self.data.labels),
            is_validated=self.data.validation_fraction > 0,
            place=place,
        )
        return training


def parse_recipe(text: str, *, place: str = RECIPE_FILE) -> Recipe:
    """Read the text of lehr.toml. Raises RecipeError naming the key, what was expected, and a near name."""
    import tomllib  # functions read recipes that were planned, which are JSON

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise RecipeError(str(fault), place=place, hint="the file is TOML: see https://toml.io") from fault
    refuse_unknown_keys(Recipe, table, place, "")
    recipe: Recipe = convert(table, Recipe, place)
    loss = DEFAULT_LOSS_OF_TASK.get(recipe.project.task)
    if loss is not None and "loss" not in table.get("training", {}):
        said = msgspec.to_builtins(recipe.training) | {"loss": loss}
        recipe = msgspec.structs.replace(recipe, training=convert(said, Training, place))
    refuse_model_misfits(recipe.model, recipe.augment, table.get("model", {}), place=place)
    refuse_gate_misfits(recipe, place=place)
    refuse_data(recipe, place=place)
    refuse_check_misfits(recipe, place=place)
    settings = recipe.trial_settings(place=place)
    refuse_bad_sweep(recipe, place)
    refuse_process_misfits(recipe.backend, settings, place=place)
    refuse_hook_misfits(recipe, table, place=place)
    # Here, since sweeps are planned from a recipe.
    from lehr.attempts import attempts_of
    from lehr.sweeps import longest_training_s, planned_trainings

    refuse_backend_misfits(
        recipe.backend,
        table.get("backend", {}),
        trials=planned_trainings(recipe),
        jobs=len(attempts_of(recipe.backend)),
        longest_s=longest_training_s(recipe),
        place=place,
    )
    return recipe


def flat_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """`model.dropout` in TOML is a table within a table; here it is one key again."""
    flat = {key: value for key, value in table.items() if key != "model" or not isinstance(value, dict)}
    if len(flat) < len(table):
        flat |= {f"{MODEL_PREFIX}{key}": value for key, value in table["model"].items()}
    return flat

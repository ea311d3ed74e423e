"""Which settings go together with the project's hooks.

A hook takes the place of settings, which would then be ignored: they are refused where they are said, even if what they
say is the default.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lehr.errors import RecipeError

if TYPE_CHECKING:
    from lehr.contracts.recipe import Recipe
    from lehr.contracts.recipe_tables import Hooks

FUNCTION_PATTERN = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"
MONITORS = ("validation_loss", "validation_accuracy", "validation_mean_iou", "validation_map50")
# What the log and training.json call by these names is the trainer's own.
OWN_METRICS = ("loss", "accuracy", "mean_iou", "map50")
_REPLACED = {
    "loss": ("loss", "label_smoothing", "class_weights", "focal_gamma"),
    "optimizer": ("optimizer", "momentum", "nesterov", "weight_decay"),
}

Misfits = Iterator[tuple[str, str]]


def metric_name(hook: str) -> str:
    """What the values of a metric are called: the function's name."""
    return hook.partition(":")[2]


def named_functions(recipe: Recipe) -> dict[str, str]:
    """The project's own functions that a recipe names, "module:function" by key."""
    hooks = recipe.hooks
    named = {"model.factory": recipe.model.factory if recipe.model.name == "custom" else ""}
    named |= {f"hooks.{key}": getattr(hooks, key) for key in ("loss", "augment", "optimizer")}
    named |= {f"hooks.metrics[{number}]": hook for number, hook in enumerate(hooks.metrics)}
    return {key: function for key, function in named.items() if function}


def refuse_hook_misfits(recipe: Recipe, table: Mapping[str, Any], *, place: str) -> None:
    """Raise RecipeError for the first setting of [hooks], or beside it, that has no meaning.

    `table` is lehr.toml as it was written, which tells what was said from what is a default.
    """
    hooks = recipe.hooks
    misfits = (
        *_of_names(hooks),
        *_of_metrics(hooks, is_validated=recipe.data.validation_fraction > 0),
        *_of_training(hooks, table),
        *_of_augment(hooks, table),
        *_of_monitor(recipe),
    )
    for message, hint in misfits:
        raise RecipeError(message, place=place, hint=hint)


def _of_names(hooks: Hooks) -> Misfits:
    named = {"loss": hooks.loss, "augment": hooks.augment, "optimizer": hooks.optimizer}
    named |= {f"metrics[{number}]": hook for number, hook in enumerate(hooks.metrics)}
    for key, hook in named.items():
        if (hook or "metrics" in key) and not re.fullmatch(FUNCTION_PATTERN, hook):
            yield f"hooks.{key} is {hook!r}", 'write "module:function" of a file in the project'


def _of_metrics(hooks: Hooks, *, is_validated: bool) -> Misfits:
    names = [metric_name(hook) for hook in hooks.metrics]
    for name in names:
        if name in OWN_METRICS or name.startswith("_"):
            yield f"hooks.metrics has a function {name!r}", "give it a name of its own, which the log shows"
        if names.count(name) > 1:
            yield f"hooks.metrics has two functions {name!r}", "the log shows their names: rename one"
    if names and not is_validated:
        yield (
            "hooks.metrics needs held-out rows",
            "make data.validation_fraction more than 0, or leave metrics out",
        )


def _of_training(hooks: Hooks, table: Mapping[str, Any]) -> Misfits:
    """[training] and the tables of [trials]: what is said there for a part that a hook replaces."""
    trials = table.get("trials", {})
    said = {"training": table.get("training", {}), "trials.space": trials.get("space", {})}
    overrides = trials.get("overrides", ())
    said |= {f"trials.overrides[{number}]": override for number, override in enumerate(overrides)}
    for hook, keys in _REPLACED.items():
        if not getattr(hooks, hook):
            continue
        for where, settings in said.items():
            for key in keys:
                if key in settings:
                    yield (
                        f"{where}: {key} has no meaning beside hooks.{hook}, which replaces it",
                        f"leave {key} out and write it into the function, or leave hooks.{hook} out",
                    )


def _of_augment(hooks: Hooks, table: Mapping[str, Any]) -> Misfits:
    if hooks.augment and table.get("augment"):
        yield (
            f"augment.{next(iter(table['augment']))} has no meaning beside hooks.augment, which replaces [augment]",
            "leave [augment] out, or hooks.augment",
        )


def _of_monitor(recipe: Recipe) -> Misfits:
    known = [*MONITORS, *(f"validation_{metric_name(hook)}" for hook in recipe.hooks.metrics)]
    named = [training.monitor for training in recipe.trial_settings()]
    chosen = recipe.trials.space.get("monitor")
    for monitor in (*named, *(chosen if isinstance(chosen, list) else ())):
        if monitor is not None and monitor not in known:
            near = difflib.get_close_matches(monitor, known, n=1, cutoff=0.6)
            yield (
                f"training.monitor is {monitor!r}",
                f"did you mean {near[0]!r}?" if near else f"it is one of {', '.join(known)}",
            )

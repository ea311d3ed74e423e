"""Which keys of [data], [model], [augment] and [gate] belong to which task: the others would be ignored, so they are
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lehr.errors import RecipeError

if TYPE_CHECKING:
    from lehr.contracts.recipe import Recipe

FORMATS_OF_TASK = {
    "image_classification": ("idx",),
    "tabular_classification": ("csv",),
    "tabular_regression": ("csv",),
}
REGRESSIONS = frozenset({"tabular_regression"})
_OF_CSV: dict[str, object] = {
    "files": (),
    "test_files": (),
    "test_fraction": None,
    "target": "",
    "columns": {},
    "delimiter": None,
    "missing": None,
    "max_refused_fraction": None,
}
DEFAULT_TEST_FRACTION = 0.2
DEFAULT_MAX_REFUSED_FRACTION = 0.01
DEFAULT_MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "?")

Misfits = Iterator[tuple[str, str]]


def is_table(task: str) -> bool:
    """Whether rows of named columns are learnt from."""
    return FORMATS_OF_TASK[task] == ("csv",)


def refuse_data(recipe: Recipe, *, place: str) -> None:
    """Raise RecipeError, with `place`, for the first key that the task and the format give no meaning."""
    task, data = recipe.project.task, recipe.data
    if data.format not in FORMATS_OF_TASK[task]:
        raise RecipeError(
            f'data.format = "{data.format}" does not fit project.task = "{task}"',
            place=place,
            hint=f"it takes {' or '.join(FORMATS_OF_TASK[task])}",
        )
    if task not in REGRESSIONS and recipe.gate.min_gain > 1:
        raise RecipeError(
            f"gate.min_gain = {recipe.gate.min_gain:g} is more than an accuracy can gain",
            place=place,
            hint="it is a share of the rows: 0.01 is one point",
        )
    for misfits in (_of_table(recipe) if is_table(task) else _of_images(recipe), _of_labels(recipe)):
        for message, hint in misfits:
            raise RecipeError(message, place=place, hint=hint)


def _of_images(recipe: Recipe) -> Misfits:
    data = recipe.data
    for key, default in _OF_CSV.items():
        if getattr(data, key) != default:
            yield (
                f'data.{key} has no meaning for format = "{data.format}"',
                'it belongs to format = "csv"; leave it out',
            )
    for key in ("train", "test"):
        if getattr(data, key) is None:
            yield (
                f"data.{key} is missing",
                f'write {key} = {{ images = "…", labels = "…" }}, two files of your data',
            )
    if recipe.gate.max_rmse is not None:
        yield "gate.max_rmse belongs to regressions", "leave it out, or write min_accuracy"


def _of_table(recipe: Recipe) -> Misfits:
    data, task = recipe.data, recipe.project.task
    for key in ("train", "test"):
        if getattr(data, key) is not None:
            yield f'data.{key} has no meaning for format = "csv"', 'write files = ["….csv"]'
    if not data.files:
        yield "data.files is missing", 'name the files of rows, for example files = ["*.csv.gz"]'
    if not data.target:
        yield "data.target is missing", "name the column that the model is to predict"
    if data.target in data.columns:
        yield f"data.columns names {data.target!r}, the target", "leave it out of columns"
    if data.delimiter in ('"', "\r", "\n"):
        yield (
            f"data.delimiter is {data.delimiter!r}, which has a meaning of its own in CSV",
            "leave it out: the delimiter is found",
        )
    if data.test_files and data.test_fraction is not None:
        yield (
            "data.test_fraction has no meaning beside test_files",
            "leave one out: the test's rows are those of test_files",
        )
    if recipe.model.name not in ("mlp", "custom"):
        yield f"model.name = {recipe.model.name!r} takes images", "a table takes mlp or custom"
    if recipe.augment != type(recipe.augment)():
        yield "[augment] changes images", f"leave it out: the task is {task}"
    if recipe.hooks.augment:
        yield "hooks.augment changes images", f"leave it out: the task is {task}"
    if recipe.serving.precision == "int8":
        yield 'serving.precision = "int8" has no meaning for a table', "leave it out"
    if task in REGRESSIONS and (recipe.hooks.loss or recipe.hooks.metrics):
        yield "hooks.loss and hooks.metrics take logits", f"leave them out: {task} has none"
    if task in REGRESSIONS and recipe.trials.objective == "validation_accuracy":
        yield 'trials.objective = "validation_accuracy" belongs to classifications', "leave it out"
    if task in REGRESSIONS and recipe.gate.min_accuracy:
        yield "gate.min_accuracy belongs to classifications", "leave it out, or write max_rmse"
    if task not in REGRESSIONS and recipe.gate.max_rmse is not None:
        yield "gate.max_rmse belongs to regressions", "leave it out, or write min_accuracy"


def _of_labels(recipe: Recipe) -> Misfits:
    labels, is_regression = recipe.data.labels, recipe.project.task in REGRESSIONS
    if is_regression and labels:
        yield (
            "data.labels has no meaning for a regression",
            "leave it out, or take a task of classification",
        )
    if not is_regression and len(labels) < 2:
        yield "data.labels: Expected `array` of length >= 2", "name every label, in the model's order"
    if len(set(labels)) != len(labels):
        yield "data.labels names a label twice", "write each once"

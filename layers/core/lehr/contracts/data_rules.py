"""Which keys of [data], [model], [augment] and [gate] belong to which task: the others would be ignored, so they are
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lehr.contracts.detection_rules import DETECTIONS, of_detection
from lehr.contracts.recipe_tables import Data
from lehr.errors import RecipeError

if TYPE_CHECKING:
    from lehr.contracts.recipe import Recipe

FORMATS_OF_TASK = {
    "image_classification": ("idx", "folders"),
    "object_detection": ("coco",),
    "tabular_classification": ("csv", "jsonl", "parquet"),
    "tabular_regression": ("csv", "jsonl", "parquet"),
}
REGRESSIONS = frozenset({"tabular_regression"})
TABLES = ("csv", "jsonl", "parquet")
# Formats whose examples are files of their own.
FILES = ("folders", "coco")
# The formats that have a key of [data]; all have the others.
_FORMATS_WITH = {
    "train": ("idx",),
    "test": ("idx",),
    "files": (*TABLES, "folders"),
    "test_files": (*TABLES, "folders"),
    "test_fraction": (*TABLES, *FILES),
    "max_refused_fraction": (*TABLES, *FILES),
    "target": TABLES,
    "columns": TABLES,
    "delimiter": ("csv",),
    "missing": TABLES,
    "image_size": ("folders", "coco"),
    "channels": ("folders", "coco"),
    "annotations": ("coco",),
    "test_annotations": ("coco",),
    "images": ("coco",),
    "ignore_labels": ("coco",),
    "max_boxes": ("coco",),
}
_NOTHING_SAID = Data(format="idx")
DEFAULT_TEST_FRACTION = 0.2
DEFAULT_MAX_REFUSED_FRACTION = 0.01
DEFAULT_MAX_BOXES = 32
DEFAULT_MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "?")

Misfits = Iterator[tuple[str, str]]


def is_table(task: str) -> bool:
    """Whether rows of named columns are learnt from."""
    return FORMATS_OF_TASK[task][0] in TABLES


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
            hint="it is a share of the rows, or of mAP: 0.01 is one point",
        )
    own = _of_table if is_table(task) else _of_files if data.format in FILES else _of_pairs
    groups = (_of_format(data), own(recipe), of_detection(recipe), _of_gate(recipe), _of_labels(recipe))
    for misfits in groups:
        for message, hint in misfits:
            raise RecipeError(message, place=place, hint=hint)


def _of_format(data: Data) -> Misfits:
    for key, formats in _FORMATS_WITH.items():
        if data.format not in formats and getattr(data, key) != getattr(_NOTHING_SAID, key):
            yield (
                f'data.{key} has no meaning for format = "{data.format}"',
                f"it belongs to {' and '.join(formats)}; leave it out",
            )


def _of_pairs(recipe: Recipe) -> Misfits:
    for key in ("train", "test"):
        if getattr(recipe.data, key) is None:
            yield (
                f"data.{key} is missing",
                f'write {key} = {{ images = "…", labels = "…" }}, two files of your data',
            )


def _of_files(recipe: Recipe) -> Misfits:
    data = recipe.data
    if not data.files and data.format == "folders":
        yield "data.files is missing", 'name the files by a pattern, for example files = ["train/*"]'
    if data.image_size is None:
        yield (
            "data.image_size is missing",
            "write the height and width that the model takes, as image_size = [64, 64]",
        )
    yield from _of_test(data)


def _of_test(data: Data) -> Misfits:
    if data.test_files and data.test_fraction is not None:
        yield (
            "data.test_fraction has no meaning beside test_files",
            "leave one out: the test's examples are those of test_files",
        )


def _of_table(recipe: Recipe) -> Misfits:
    data, task = recipe.data, recipe.project.task
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
    yield from _of_test(data)
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


def _of_gate(recipe: Recipe) -> Misfits:
    is_regression = recipe.project.task in REGRESSIONS
    is_detection = recipe.project.task in DETECTIONS
    if is_detection and recipe.gate.min_accuracy:
        yield "gate.min_accuracy belongs to classifications", "leave it out, or write min_map50"
    if not is_detection and recipe.gate.min_map50:
        yield "gate.min_map50 belongs to object detection", "leave it out"
    if is_regression and recipe.gate.min_accuracy:
        yield "gate.min_accuracy belongs to classifications", "leave it out, or write max_rmse"
    if not is_regression and recipe.gate.max_rmse is not None:
        yield "gate.max_rmse belongs to regressions", "leave it out, or write min_accuracy"


def _of_labels(recipe: Recipe) -> Misfits:
    labels, is_regression = recipe.data.labels, recipe.project.task in REGRESSIONS
    if is_regression and labels:
        yield (
            "data.labels has no meaning for a regression",
            "leave it out, or take a task of classification",
        )
    is_detection = recipe.project.task in DETECTIONS
    if is_detection and not labels:
        yield "data.labels is missing", "name every category that is to be found, in the model's order"
    if not is_regression and not is_detection and len(labels) < 2:
        yield "data.labels: Expected `array` of length >= 2", "name every label, in the model's order"
    if len(set(labels)) != len(labels):
        yield "data.labels names a label twice", "write each once"

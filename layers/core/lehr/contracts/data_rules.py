"""Which keys of [data], [model] and [augment] belong to which task: the others would be ignored, and are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lehr.contracts.data_tables import Data
from lehr.contracts.detection_rules import DETECTIONS, of_detection
from lehr.contracts.file_units import IGNORED
from lehr.errors import RecipeError

if TYPE_CHECKING:
    from lehr.contracts.recipe import Recipe

FORMATS_OF_TASK = {
    "image_classification": ("idx", "folders", "manifest"),
    "image_segmentation": ("masks",),
    "object_detection": ("coco",),
    "audio_classification": ("folders", "manifest"),
    "tabular_classification": ("csv", "jsonl", "parquet"),
    "tabular_regression": ("csv", "jsonl", "parquet"),
}
REGRESSIONS = frozenset({"tabular_regression"})
# Every pixel of an image has a label of its own.
SEGMENTATIONS = frozenset({"image_segmentation"})
TABLES = ("csv", "jsonl", "parquet")
# Formats whose examples are files of their own.
FILES = ("folders", "manifest", "masks", "coco")
SOUND = frozenset({"audio_classification"})
# The formats that have a key of [data]; all have the others.
_FORMATS_WITH = {
    "train": ("idx",),
    "test": ("idx",),
    "files": (*TABLES, "folders", "masks"),
    "test_files": (*TABLES, "folders", "masks"),
    "test_fraction": (*TABLES, *FILES),
    "max_refused_fraction": (*TABLES, *FILES),
    "target": TABLES,
    "columns": TABLES,
    "delimiter": ("csv",),
    "missing": TABLES,
    "image_size": FILES,
    "channels": FILES,
    "masks": ("masks",),
    "ignore_value": ("masks",),
    "annotations": ("coco",),
    "test_annotations": ("coco",),
    "images": ("coco",),
    "ignore_labels": ("coco",),
    "max_boxes": ("coco",),
    "sample_rate": ("folders", "manifest"),
    "seconds": ("folders", "manifest"),
    "manifest": ("manifest",),
}
_NOTHING_SAID = Data(format="idx")
DEFAULT_TEST_FRACTION = 0.2
DEFAULT_CHANNELS = 3
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
    own = _of_table if is_table(task) else _of_files if data.format in FILES else _of_pairs
    sound = _of_sound if task in SOUND else _of_silence
    groups = (
        _of_format(data),
        own(recipe),
        sound(recipe),
        _of_masks(recipe),
        of_detection(recipe),
        _of_labels(recipe),
    )
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
    if data.format == "manifest" and data.manifest is None:
        yield "data.manifest is missing", 'name the list of files and labels: manifest = "labels.csv"'
    if data.format in ("folders", "masks") and not data.files:
        yield "data.files is missing", 'name the files by a pattern, for example files = ["train/*"]'
    if data.image_size is None and recipe.project.task not in SOUND:
        yield (
            "data.image_size is missing",
            "write the height and width that the model takes, as image_size = [64, 64]",
        )
    yield from _of_test(data)


def _of_sound(recipe: Recipe) -> Misfits:
    data, task = recipe.data, recipe.project.task
    for key, example in (("sample_rate", "16000"), ("seconds", "2.0")):
        if getattr(data, key) is None:
            yield f"data.{key} is missing", f"write what recordings are brought to, as {key} = {example}"
    for key in ("image_size", "channels"):
        if getattr(data, key) is not None:
            yield f"data.{key} belongs to images", f"leave it out: the task is {task}"
    if recipe.model.name not in ("audio_cnn", "custom"):
        yield (
            f"model.name = {recipe.model.name!r} takes no sound",
            'write name = "audio_cnn" in [model], or custom',
        )
    said = recipe.augment
    if said.crop_padding or said.horizontal_flip or said.rotation_degrees or said.shift:
        yield "[augment] has keys of images", f"leave them out: {task} has time_shift and gain_db"
    if recipe.serving.precision == "int8":
        yield (
            'serving.precision = "int8" has no meaning for sound',
            "leave it out: eight bits do not hold a spectrum",
        )


def _of_silence(recipe: Recipe) -> Misfits:
    """What only sound has."""
    data, task = recipe.data, recipe.project.task
    for key in ("sample_rate", "seconds"):
        if getattr(data, key) is not None:
            yield f"data.{key} belongs to sound", f"leave it out: the task is {task}"
    if recipe.model.name == "audio_cnn":
        yield "model.name = 'audio_cnn' takes sound", f"leave it out: the task is {task}"
    if recipe.augment.time_shift or recipe.augment.gain_db:
        yield "augment.time_shift and augment.gain_db belong to sound", f"leave them out: the task is {task}"


def _of_test(data: Data) -> Misfits:
    if data.test_files and data.test_fraction is not None:
        yield (
            "data.test_fraction has no meaning beside test_files",
            "leave one out: the test's examples are those of test_files",
        )


def _of_masks(recipe: Recipe) -> Misfits:
    """What belongs to segmentation, and what a mask cannot follow."""
    data, model = recipe.data, recipe.model
    if recipe.project.task not in SEGMENTATIONS:
        if model.name == "unet":
            yield 'model.name = "unet" labels pixels', 'take another model, or task = "image_segmentation"'
        if recipe.trials.objective == "validation_mean_iou":
            yield 'trials.objective = "validation_mean_iou" belongs to segmentation', "leave it out"
        return
    if not data.masks:
        yield "data.masks is missing", 'name the masks by a pattern, for example masks = ["masks/*.png"]'
    if model.name not in ("unet", "custom"):
        yield f"model.name = {model.name!r} gives one label for an image", "segmentation takes unet or custom"
    if len(data.labels) > IGNORED:
        yield f"data.labels names {len(data.labels)} labels", f"a pixel has one of {IGNORED} at most"
    if data.ignore_value is not None and data.ignore_value < len(data.labels):
        yield (
            f"data.ignore_value = {data.ignore_value} is the pixel of {data.labels[data.ignore_value]!r}",
            f"take a value from {len(data.labels)} to 255, as 255, or leave it out",
        )
    if recipe.hooks.augment:
        yield "hooks.augment changes pixels and not their mask", "leave it out: [augment] moves both"
    if model.name == "unet" and data.image_size is not None:
        factor = 2 ** (len(model.channels) - 1)
        if any(side % factor for side in data.image_size):
            height, width = data.image_size
            yield (
                f"data.image_size = [{height}, {width}] cannot be halved {len(model.channels) - 1} times",
                f"take multiples of {factor} for a unet of {len(model.channels)} levels, or fewer of model.channels",
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

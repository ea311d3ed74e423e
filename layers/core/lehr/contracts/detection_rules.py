"""Which keys go with object detection: a box has to move with its image, and a model has to give boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lehr.contracts.recipe import Recipe

# Boxes are found in an image, each with a label.
DETECTIONS = frozenset({"object_detection"})
_MOVES = ("crop_padding", "rotation_degrees", "shift")


def of_detection(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Message and way out for each key that belongs to detection alone, or not to it."""
    data, trials = recipe.data, recipe.trials
    if recipe.project.task not in DETECTIONS:
        if recipe.model.name == "detector":
            yield 'model.name = "detector" finds boxes', 'take another model, or task = "object_detection"'
        if trials.objective == "validation_map50":
            yield 'trials.objective = "validation_map50" belongs to object detection', "leave it out"
        return
    if not data.annotations:
        yield "data.annotations is missing", 'name the file of COCO\'s JSON, as annotations = "train.json"'
    if data.test_annotations and data.test_fraction is not None:
        yield (
            "data.test_fraction has no meaning beside test_annotations",
            "leave one out: the test's images are those of test_annotations",
        )
    if data.test_annotations and data.test_annotations == data.annotations:
        yield (
            "data.test_annotations is data.annotations",
            "leave it out: test_fraction is the test's share then",
        )
    if both := set(data.labels) & set(data.ignore_labels):
        yield f"data.ignore_labels names {min(both)!r}, which data.labels does too", "leave it in one of them"
    if recipe.model.name not in ("detector", "custom"):
        yield f"model.name = {recipe.model.name!r} gives no boxes", 'write name = "detector", or "custom"'
    for key in _MOVES:
        if getattr(recipe.augment, key):
            yield (
                f"augment.{key} does not move boxes with the image",
                "leave it out: horizontal_flip, brightness and contrast go with boxes",
            )
    if recipe.hooks.augment:
        yield (
            "hooks.augment changes images and not their boxes",
            "leave it out: [augment] keeps them together",
        )
    if recipe.hooks.loss or recipe.hooks.metrics:
        yield (
            "hooks.loss and hooks.metrics take logits of classes",
            "leave them out: the task is object_detection",
        )
    if trials.objective == "validation_accuracy":
        yield (
            'trials.objective = "validation_accuracy" belongs to classifications',
            "leave it out, or write validation_map50",
        )
    if recipe.serving.precision == "int8":
        yield 'serving.precision = "int8" has no meaning for boxes', "leave it out"

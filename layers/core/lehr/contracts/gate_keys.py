"""Which keys of [evaluation] and [gate] belong to which task: the others would be ignored, so they are refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING

from lehr.contracts.comparison import MAX_SLICES
from lehr.contracts.data_rules import REGRESSIONS, SEGMENTATIONS, SOUND, Misfits, is_table
from lehr.contracts.detection_rules import DETECTIONS
from lehr.contracts.gate_tables import Gate, SliceRule
from lehr.errors import RecipeError

if TYPE_CHECKING:
    from lehr.contracts.recipe import Recipe

MAX_SLICINGS = 8
_CLASSIFICATION, _SEGMENTATION, _DETECTION, _REGRESSION = (
    "classifications",
    "segmentation",
    "object detection",
    "regressions",
)
# Of each kind of task the keys that only it has; the first is the quality that is asked for.
_KEYS = {
    _CLASSIFICATION: ("min_accuracy", "min_class_recall", "max_ece"),
    _SEGMENTATION: ("min_mean_iou", "min_class_iou"),
    _DETECTION: ("min_map50", "min_class_ap50"),
    _REGRESSION: ("max_rmse",),
}
# What is sliced by without a column's name: values, or ranges of a number.
LABEL, BRIGHTNESS, LOUDNESS, OBJECTS = "label", "brightness", "loudness", "objects"


def refuse_gate_misfits(recipe: Recipe, *, place: str) -> None:
    """Raise RecipeError, with `place`, for the first key that the task gives no meaning."""
    for misfits in (_of_gate(recipe), _of_slices(recipe), _of_slice_floors(recipe)):
        for message, hint in misfits:
            raise RecipeError(message, place=place, hint=hint)


def _kind(task: str) -> str:
    if task in REGRESSIONS:
        return _REGRESSION
    if task in SEGMENTATIONS:
        return _SEGMENTATION
    return _DETECTION if task in DETECTIONS else _CLASSIFICATION


def _of_gate(recipe: Recipe) -> Misfits:
    gate, default, own = recipe.gate, Gate(), _kind(recipe.project.task)
    for kind, keys in _KEYS.items():
        for place, key in enumerate(keys):
            if kind != own and getattr(gate, key) != getattr(default, key):
                # A floor for each class has a counterpart, but of regressions and of calibration.
                near = _KEYS[own][min(place, len(_KEYS[own]) - 1)]
                yield f"gate.{key} belongs to {kind}", f"leave it out, or write {near}"
    if own != _REGRESSION and gate.min_gain > 1:
        yield (
            f"gate.min_gain = {gate.min_gain:g} is more than an accuracy can gain",
            "it is a share of the rows, or of IoU or mAP: 0.01 is one point",
        )


def _of_slices(recipe: Recipe) -> Misfits:
    slices, task = recipe.evaluation.slices, recipe.project.task
    if len(slices) > MAX_SLICINGS:
        yield f"evaluation.slices has {len(slices)} entries", f"take {MAX_SLICINGS} at most"
    for by, rule in slices.items():
        place = f"evaluation.slices.{by}"
        yield from _of_rule(place, rule)
        if is_table(task):
            yield from _of_column(recipe, by, rule, place)
        elif by not in (known := _known(task)):
            yield f"{place} is nothing that {task} is cut by", _suggestion(by, known)
        elif is_by_value(rule) != (by == LABEL):
            yield (
                f"{place} is {'a label' if by == LABEL else 'a number'}",
                'write "each" or a list of labels'
                if by == LABEL
                else 'write "quartiles" or a list of numbers',
            )
        elif by == OBJECTS and rule == "quartiles":
            yield f'{place} has no "quartiles"', "write a list of numbers, as [1, 4]"
        if by == LABEL and not is_table(task):
            yield from _of_labels(rule, recipe.data.labels, place)


def _of_rule(place: str, rule: SliceRule) -> Misfits:
    if isinstance(rule, str):
        if rule not in ("each", "quartiles"):
            yield f"{place} = {rule!r} is no way to cut", _suggestion(rule, ("each", "quartiles"))
        return
    numbers = [one for one in rule if not isinstance(one, str)]
    if not rule or 0 < len(numbers) < len(rule):
        yield (
            f"{place} is no list of texts, or of numbers",
            'write values, as ["a", "b"], or edges, as [0, 10]',
        )
    elif len(rule) > MAX_SLICES:
        yield f"{place} names {len(rule)}", f"take {MAX_SLICES} at most: the others are a slice together"
    elif len(set(rule)) < len(rule):
        yield f"{place} names one twice", "write each once"
    elif any(not isfinite(one) for one in numbers) or any(low > high for low, high in pairwise(numbers)):
        yield f"{place} does not rise", "write where ranges begin, in order: [6, 12, 18]"


def _of_column(recipe: Recipe, by: str, rule: SliceRule, place: str) -> Misfits:
    told = recipe.data.columns.get(by)
    if told in ("ignore", "pii_drop", "pii_hash"):
        yield (
            f'{place} is a column that is "{told}"',
            "leave it out: its values are not in the data that is tested",
        )
    if by == recipe.data.target:
        is_label = recipe.project.task not in REGRESSIONS
        if is_by_value(rule) != is_label:
            yield (
                f"{place} is {'a label' if is_label else 'a number'}",
                'write "each" or a list of labels' if is_label else 'write "quartiles" or a list of numbers',
            )
        if is_label:
            yield from _of_labels(rule, recipe.data.labels, place)
    elif told in ("number", "category") and is_by_value(rule) != (told == "category"):
        yield f"{place} is a column of {told}", rule_for(told)


def _of_labels(rule: SliceRule, labels: tuple[str, ...] | list[str], place: str) -> Misfits:
    for one in () if isinstance(rule, str) else rule:
        if one not in labels:
            yield f"{place} names {one!r}, which is no label", _suggestion(str(one), labels)


def _of_slice_floors(recipe: Recipe) -> Misfits:
    gate, slices = recipe.gate, recipe.evaluation.slices
    for by, floor in gate.slices.items():
        if by not in slices:
            hint = _suggestion(by, slices) if slices else "write it under [evaluation.slices] first"
            yield f"gate.slices.{by} is no slice of [evaluation.slices]", hint
        if floor > 1 and recipe.project.task not in REGRESSIONS:
            yield f"gate.slices.{by} = {floor:g} is more than can be reached", "it is a share: 0.9 is 90 %"
    if gate.min_slice_rows != Gate().min_slice_rows and not slices:
        yield "gate.min_slice_rows has no slices to look at", "write [evaluation.slices], or leave it out"


def is_by_value(rule: SliceRule) -> bool:
    """Whether values are told apart, and not ranges of a number."""
    return rule == "each" or (not isinstance(rule, str) and bool(rule) and isinstance(rule[0], str))


def rule_for(kind: str) -> str:
    """What a slicing by a column of that kind looks like."""
    if kind == "category":
        return 'write "each", or a list of its values, as ["a", "b"]'
    return 'write "quartiles", or where ranges begin, as [0, 10]'


def _known(task: str) -> list[str]:
    if task in SOUND:
        return [LABEL, LOUDNESS]
    if task in DETECTIONS:
        return [BRIGHTNESS, OBJECTS]
    return [BRIGHTNESS] if task in SEGMENTATIONS else [LABEL, BRIGHTNESS]


def _suggestion(word: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names[:20])}"

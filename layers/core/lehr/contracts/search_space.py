"""[trials.space]: what a sweep may choose from, and the points of it that can be named beforehand.

A key is one of [training], or of [model] with `model.` before it. It has a list of values, or an interval: `low` and
`high`, both included, with a `step` or on a `log` scale. Draws are a pure function of the seed and their number.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from lehr.errors import RecipeError

if TYPE_CHECKING:
    from lehr.contracts.recipe import Recipe

# Three digits of a job's name are the trial's; long before, a sweep wants another search.
MAX_TRIALS = 500
# Points drawn for one trial before it is given up that another one fits.
MAX_DRAWS = 100
SMALL_SPACE = 1000
_INTERVAL_KEYS = ("low", "high", "step", "log")
_DIGITS = 6

Point = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def grid(self) -> tuple[Any, ...]:
        return self.values

    def draw(self, stream: random.Random) -> Any:
        return self.values[stream.randrange(len(self.values))]


@dataclass(frozen=True)
class Interval:
    """A number from `low` to `high`, both included; `step` is None where there is a number between any two."""

    low: float
    high: float
    step: float | None
    is_log: bool
    is_integer: bool

    def grid(self) -> tuple[Any, ...] | None:
        """Its values, or None if they cannot be listed."""
        if self.step is None or (self.is_log and self.is_integer):
            return None
        return tuple(self._on_step(number) for number in range(self._steps() + 1))

    def draw(self, stream: random.Random) -> Any:
        if self.is_log:
            # An integer takes its share of the scale: half a unit to either side.
            margin = 0.5 if self.is_integer else 0.0
            value = math.exp(stream.uniform(math.log(self.low - margin), math.log(self.high + margin)))
        elif self.step is not None:
            return self._on_step(stream.randint(0, self._steps()))
        else:
            value = stream.uniform(self.low, self.high)
        value = min(max(value, self.low), self.high)
        return round(value) if self.is_integer else min(max(_rounded(value), self.low), self.high)

    def _steps(self) -> int:
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9)

    def _on_step(self, number: int) -> Any:
        value = self.low + number * (self.step or 1)
        return round(value) if self.is_integer else _rounded(value)


Dimension = Choice | Interval


def read_space(recipe: Recipe, *, place: str) -> dict[str, Dimension]:
    """The dimensions of [trials.space] by key, sorted, as a recipe's JSON has them.

    Raises RecipeError for a key or a value that is none.
    """
    from lehr.contracts.recipe import flat_keys

    dimensions = {}
    for key, written in sorted(flat_keys(recipe.trials.space).items()):
        where = f"{place}: trials.space.{key}"
        if isinstance(written, list):
            choice = _choice(written, where)
            dimension: Dimension = choice
            samples = list(choice.values)
        elif isinstance(written, dict):
            # An unknown key is told as such, whatever its interval is like.
            recipe.converted({key: written.get("low")} if not _is_known(recipe, key) else {}, place=where)
            interval = _interval(written, where, is_integer=_is_integer(recipe, key))
            dimension = interval
            samples = [interval.low, interval.high]
        else:
            raise RecipeError(
                f"is {written!r}",
                place=where,
                hint="write a list of values, or { low = …, high = … } with step or log = true",
            )
        for value in samples:
            recipe.converted({key: value}, place=where)
        dimensions[key] = dimension
    return dimensions


def grid_points(space: Mapping[str, Dimension], *, place: str) -> list[Point]:
    """Every combination, the last key varying fastest. Raises RecipeError for an endless or too large grid."""
    axes = []
    for key, dimension in space.items():
        values = dimension.grid()
        if values is None:
            raise RecipeError(
                "a grid cannot list the values of this interval",
                place=f"{place}: trials.space.{key}",
                hint='give it a step, write a list, or take search = "random"',
            )
        axes.append(values)
    if (total := math.prod(map(len, axes))) > MAX_TRIALS:
        raise RecipeError(
            f"the grid has {total} points, at most {MAX_TRIALS} are trained",
            place=f"{place}: trials.space",
            hint='take fewer values, or search = "random" or "tpe" with a count',
        )
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*axes)]


def size(space: Mapping[str, Dimension]) -> int | None:
    """How many points there are; None: without end."""
    axes = [dimension.grid() for dimension in space.values()]
    return None if None in axes else math.prod(len(axis) for axis in axes if axis is not None)


def random_points(recipe: Recipe, space: Mapping[str, Dimension], *, place: str) -> list[Point]:
    """`count` different points that the rules of [training] allow. Raises RecipeError if they cannot be found."""
    points: list[Point] = []
    for number in range(recipe.trials.count or 0):
        points.append(fitting_point(recipe, space, number, points, place=place))
    return points


def fitting_point(
    recipe: Recipe, space: Mapping[str, Dimension], number: int, taken: list[Point], *, place: str
) -> Point:
    """The point of trial `number`: the first of at most MAX_DRAWS draws that fits and is not `taken`.

    Of a small space what is left is then gone through in order.
    """
    fault: RecipeError | None = None
    for point in itertools.chain(_draws(space, recipe.trials.seed, number), _all(space)):
        if point in taken:
            continue
        try:
            recipe.at_point(point, place=f"{place}: trials.space: {describe(point)}")
        except RecipeError as refused:
            fault = refused
            continue
        return point
    hint = "widen the space, or ask for fewer trials" + (f"; the last refusal: {fault}" if fault else "")
    raise RecipeError(
        f"{MAX_DRAWS} points were drawn for trial {number}, and none is new and allowed",
        place=f"{place}: trials.space",
        hint=hint,
    )


def describe(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in point.items())


def _draws(space: Mapping[str, Dimension], seed: int, number: int) -> Iterator[Point]:
    # A string as the seed: its digest decides, alike on every machine and in every version of Python.
    stream = random.Random(f"{seed} {number}")  # noqa: S311 a search, no secret
    for _ in range(MAX_DRAWS):
        yield {key: dimension.draw(stream) for key, dimension in space.items()}


def _all(space: Mapping[str, Dimension]) -> Iterator[Point]:
    if (size(space) or math.inf) <= SMALL_SPACE:
        for values in itertools.product(*(dimension.grid() or () for dimension in space.values())):
            yield dict(zip(space, values, strict=True))


def _choice(values: list[Any], where: str) -> Choice:
    if not values:
        raise RecipeError(
            "is an empty list", place=where, hint="write at least one value, or leave the key out"
        )
    twice = [value for number, value in enumerate(values) if value in values[:number]]
    if twice:
        raise RecipeError(f"has {twice[0]!r} twice", place=where, hint="write each value once")
    return Choice(tuple(values))


def _interval(written: Mapping[str, Any], where: str, *, is_integer: bool) -> Interval:
    for key in written:
        if key not in _INTERVAL_KEYS:
            raise RecipeError(
                f"unknown key {key!r}", place=where, hint=f"known here: {', '.join(_INTERVAL_KEYS)}"
            )
    for key in ("low", "high"):
        if key not in written:
            raise RecipeError(f"has no {key}", place=where, hint="write { low = …, high = … }")
    low, high, step, is_log = written["low"], written["high"], written.get("step"), written.get("log")
    for key, value in (("low", low), ("high", high), ("step", step)):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise RecipeError(f"{key} is {value!r}, and no number", place=where)
        if is_integer and not isinstance(value, int):
            raise RecipeError(f"{key} is {value!r}, and the key takes whole numbers", place=where)
    if is_log not in (None, True, False):
        raise RecipeError(f"log is {is_log!r}", place=where, hint="write log = true, or leave it out")
    if low >= high:
        raise RecipeError(f"low = {low} is not below high = {high}", place=where, hint="swap them")
    if is_log and low <= 0:
        raise RecipeError(f"low = {low} has no place on a log scale", place=where, hint="begin above 0")
    if is_log and step is not None:
        raise RecipeError("has both a step and log = true", place=where, hint="leave one out")
    if step is not None and not 0 < step <= high - low:
        raise RecipeError(
            f"step = {step} does not lead from {low} to {high}",
            place=where,
            hint="take a smaller, positive step",
        )
    return Interval(low, high, 1 if is_integer and step is None else step, bool(is_log), is_integer)


def _hints(recipe: Recipe, key: str) -> tuple[dict[str, Any], str]:
    from lehr.contracts.recipe import MODEL_PREFIX

    kind = type(recipe.model) if key.startswith(MODEL_PREFIX) else type(recipe.training)
    return get_type_hints(kind, include_extras=True), key.removeprefix(MODEL_PREFIX)


def _is_known(recipe: Recipe, key: str) -> bool:
    hints, name = _hints(recipe, key)
    return name in hints


def _is_integer(recipe: Recipe, key: str) -> bool:
    hints, name = _hints(recipe, key)
    kinds = set(_plain_types(hints[name]))
    return int in kinds and float not in kinds


def _plain_types(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is Annotated:
        yield from _plain_types(get_args(kind)[0])
    elif get_origin(kind) is None:
        yield kind
    elif get_origin(kind) is not tuple:
        for inner in get_args(kind):
            yield from _plain_types(inner)


def _rounded(value: float) -> float:
    """To what a person would write: six digits are finer than any training tells apart."""
    return float(f"{value:.{_DIGITS}g}")

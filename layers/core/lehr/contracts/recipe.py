"""The recipe: `lehr.toml` of a project, everything a run needs to know beside the data.

An unknown key is an error with a suggestion, since a silently ignored `epoch = 50` costs a training.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from lehr.contracts.backend_rules import refuse_backend_misfits
from lehr.contracts.document import Document, Part
from lehr.contracts.hook_rules import FUNCTION_PATTERN, refuse_hook_misfits
from lehr.contracts.process_rules import refuse_process_misfits
from lehr.contracts.sweep_rules import refuse_bad_sweep
from lehr.contracts.training_rules import refuse_misfits
from lehr.errors import RecipeError

RECIPE_FILE = "lehr.toml"
MODEL_PREFIX = "model."
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,31}$"

Fraction = Annotated[float, Meta(ge=0.0, le=0.5)]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0.0)]
NonNegativeFloat = Annotated[float, Meta(ge=0.0)]
BelowOne = Annotated[float, Meta(ge=0.0, lt=1.0)]
InstanceType = Annotated[str, Meta(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")]
BackendKind = Literal["sagemaker", "batch", "lambda"]
Key = Annotated[str, Meta(pattern=r"^[^/\x00-\x1f][^\x00-\x1f]{0,199}$")]


# The models that have a key of [model]; `custom` ignores the mlp's, so that changing the name is enough to try one.
_MODELS_WITH = {
    "factory": ("custom",),
    "hidden": ("mlp", "custom"),
    "dropout": ("mlp", "cnn", "custom"),
    "channels": ("cnn",),
    "depth": ("resnet",),
    "width": ("resnet",),
}


class Project(Part, frozen=True, kw_only=True):
    """[project]: its name is part of every key, so it is short, lower-case and plain."""

    name: Annotated[str, Meta(pattern=NAME_PATTERN)]
    task: Literal["image_classification"]


class LabelledFiles(Part, frozen=True, kw_only=True):
    """Two files that belong together, relative to the project's folder of incoming data."""

    images: Key
    labels: Key


class Data(Part, frozen=True, kw_only=True):
    """[data]: what is dropped, and how it is cut."""

    format: Literal["idx"]
    train: LabelledFiles
    test: LabelledFiles
    labels: Annotated[list[str], Meta(min_length=2, max_length=256)]
    validation_fraction: Fraction = 0.05
    rows_per_shard: Annotated[int, Meta(ge=100)] = 20_000
    seed: int = 1


class Model(Part, frozen=True, kw_only=True):
    """[model]: a built-in name, or `factory = "module:function"` of the project's own code.

    `hidden` is of the mlp, `channels` of the cnn, `depth` and `width` of the resnet, `dropout` of mlp and cnn.
    """

    name: Literal["mlp", "cnn", "resnet", "custom"] = "mlp"
    factory: str = ""
    hidden: tuple[Count, ...] = (128,)
    dropout: Probability = 0.2
    channels: Annotated[tuple[Count, ...], Meta(min_length=1)] = (32, 64)
    depth: Literal[8, 14, 20] = 8
    width: Count = 16


class Hooks(Part, frozen=True, kw_only=True):
    """[hooks]: functions of the project's own code, `"module:function"`, in the place of the trainer's.

    Signatures stand in docs/own-models.md; a hook together with a setting that it replaces is refused, see hook_rules.
    """

    loss: str = ""
    metrics: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    augment: str = ""
    optimizer: str = ""


class Augment(Part, frozen=True, kw_only=True):
    """[augment]: what is done at random to the images of a training batch, and to no others; nothing by default.

    `crop_padding` pixels of black are laid around an image and a window of its own size is cut out; `shift` is a
    share of each side, and interpolates, as `rotation_degrees` does, up to that many either way.
    """

    crop_padding: Annotated[int, Meta(ge=0, le=64)] = 0
    horizontal_flip: bool = False
    rotation_degrees: Annotated[float, Meta(ge=0.0, le=180.0)] = 0.0
    shift: Fraction = 0.0


class Training(Part, frozen=True, kw_only=True):
    """[training]: these travel as the training job's hyperparameters.

    None is "not said": the optimiser's, schedule's or loss's own default holds. What is said without the
    setting that it belongs to is refused, see training_rules.
    """

    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "muon"] = "adam"
    learning_rate: PositiveFloat = 0.001
    momentum: Probability | None = None
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 0.0
    clip_norm: PositiveFloat | None = None
    schedule: Literal["constant", "step", "cosine", "one_cycle"] = "constant"
    warmup_fraction: BelowOne | None = None
    milestones: tuple[Annotated[float, Meta(gt=0.0, lt=1.0)], ...] = ()
    decay_factor: Annotated[float, Meta(gt=0.0, lt=1.0)] | None = None
    final_fraction: Probability | None = None
    loss: Literal["cross_entropy", "focal", "binary_cross_entropy", "dice", "mse", "huber"] = "cross_entropy"
    label_smoothing: Probability = 0.0
    class_weights: tuple[PositiveFloat, ...] | Literal["balanced"] = ()
    focal_gamma: NonNegativeFloat | None = None
    epochs: Count = 5
    batch_size: Count = 32
    accumulate_steps: Count = 1
    ema_decay: BelowOne = 0.0
    patience: Annotated[int, Meta(ge=0)] = 0
    min_delta: NonNegativeFloat | None = None
    monitor: Annotated[str, Meta(pattern=r"^validation_[a-z][a-z0-9_]*$")] | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    residency: Literal["auto", "device", "streamed"] = "auto"
    compile: Literal["auto", "off", "on"] = "auto"
    freeze: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    start_from: Literal["champion"] | None = None
    start_anew: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    sharding: Literal["none", "fsdp"] = "none"
    seed: int = 1


class Trials(Part, frozen=True, kw_only=True):
    """[trials]: each table of `overrides` is one trial; or `search` chooses them in `space`; neither is a sweep of one.

    None is "not said". What is said without the search that it belongs to is refused, see sweep_rules.
    """

    overrides: tuple[dict[str, Any], ...] = ()
    concurrency: Annotated[int, Meta(ge=1, le=40)] = 2
    search: Literal["grid", "random", "tpe", "successive_halving"] | None = None
    space: dict[str, Any] = msgspec.field(default_factory=dict)
    count: Count | None = None
    seed: int = 1
    objective: Literal["validation_loss", "validation_accuracy"] | None = None
    max_failed_fraction: Probability = 0.5
    eta: Annotated[int, Meta(ge=2, le=16)] | None = None
    min_epochs: Count | None = None


class Backend(Part, frozen=True, kw_only=True):
    """[backend]: where training runs and for how long at most.

    With `spot`, spare capacity is asked for first, for `max_wait_s` at most (left out: max_runtime_s); what it
    does not give goes on, on demand, on the first of `instance_type` and `fallback_instance_types` to be had.
    What neither gives goes on with the backend named `fallback`. Batch places a job by `vcpus`, `memory_mb` and `gpus`.
    A function (`lambda`) has the memory that the stack gives it: `memory_mb` is the least that will do, and left out it
    is 14,000 on Batch and whatever the function has.
    A training that gives no sign of life for `hang_after_s` is ended; 0 is never.
    For `keep_alive_s` SageMaker keeps an instance on demand, and bills it, for the next job that asks for the same.
    A job of several instances trains one model on all of them, in `processes_per_instance` processes each; 0 is one for
    each GPU, and one without any.
    """

    kind: BackendKind = "sagemaker"
    fallback: BackendKind | Literal[""] = ""
    spot: bool = True
    max_wait_s: Annotated[int, Meta(ge=60, le=432_000)] | None = None
    fallback_instance_types: Annotated[tuple[InstanceType, ...], Meta(max_length=4)] = ()
    instance_type: InstanceType = "ml.g5.xlarge"
    instance_count: Annotated[int, Meta(ge=1, le=16)] = 1
    processes_per_instance: Annotated[int, Meta(ge=0, le=64)] = 0
    volume_gb: Annotated[int, Meta(ge=1, le=16384)] = 50
    max_runtime_s: Annotated[int, Meta(ge=60, le=432_000)] = 3600
    hang_after_s: Annotated[int, Meta(ge=0, le=86_400)] = 600
    keep_alive_s: Annotated[int, Meta(ge=0, le=3600)] = 0
    vcpus: Count = 4
    memory_mb: Annotated[int, Meta(ge=512)] | None = None
    gpus: Annotated[int, Meta(ge=0, le=16)] = 1


class Serving(Part, frozen=True, kw_only=True):
    """[serving]: in which precision the model is judged and answers; int8 only where it proved worth it."""

    precision: Literal["float32", "int8"] = "float32"


class Gate(Part, frozen=True, kw_only=True):
    """[gate]: what a candidate must show before it may serve."""

    min_accuracy: Probability = 0.0
    min_test_rows: Count = 100
    min_gain: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0


class Budget(Part, frozen=True, kw_only=True):
    """[budget]: in USD, held against the worst case before a run starts; left out means no limit.

    A month is a calendar month in UTC, and the project's.
    """

    max_usd_per_run: PositiveFloat | None = None
    max_usd_per_month: PositiveFloat | None = None


class Recipe(Document, frozen=True, kw_only=True):
    """lehr.toml, checked."""

    schema: Literal[1] = 1
    project: Project
    data: Data
    model: Model = Model()
    hooks: Hooks = Hooks()
    augment: Augment = Augment()
    training: Training = Training()
    trials: Trials = Trials()
    backend: Backend = Backend()
    serving: Serving = Serving()
    gate: Gate = Gate()
    budget: Budget = Budget()

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
        return self._fitting(training, place), model

    def converted(self, point: Mapping[str, Any], *, place: str) -> tuple[Training, Model]:
        """As `at_point`, but each value is held against its own type only."""
        changes = {key: value for key, value in point.items() if not key.startswith(MODEL_PREFIX)}
        model = {key.removeprefix(MODEL_PREFIX): point[key] for key in point.keys() - changes.keys()}
        _refuse_unknown_keys(Training, changes, place, "")
        _refuse_unknown_keys(Model, model, place, "model")
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
        _refuse_foreign_keys(self.model.name, model, place)
        return (
            _convert(msgspec.to_builtins(self.training) | changes, Training, place),
            _convert(msgspec.to_builtins(self.model) | model, Model, place),
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
    _refuse_unknown_keys(Recipe, table, place, "")
    recipe: Recipe = _convert(table, Recipe, place)
    if recipe.model.name == "custom" and not re.fullmatch(FUNCTION_PATTERN, recipe.model.factory):
        raise RecipeError(
            f"model.factory is {recipe.model.factory!r}",
            place=place,
            hint='write "module:function" of a file in the project',
        )
    _refuse_foreign_keys(recipe.model.name, table.get("model", {}), place)
    if recipe.augment.crop_padding and recipe.augment.shift:
        raise RecipeError(
            "augment.crop_padding and augment.shift both move the image",
            place=place,
            hint="leave one out: crop_padding moves by whole pixels, shift interpolates",
        )
    if recipe.backend.max_wait_s is not None and recipe.backend.max_wait_s < recipe.backend.max_runtime_s:
        raise RecipeError(
            f"backend.max_wait_s is {recipe.backend.max_wait_s}, less than max_runtime_s",
            place=place,
            hint="the wait for spot capacity includes the training: make it at least max_runtime_s, or leave it out",
        )
    settings = recipe.trial_settings(place=place)
    refuse_bad_sweep(recipe, place)
    refuse_process_misfits(recipe.backend, settings, place=place)
    refuse_hook_misfits(recipe, table, place=place)
    # Here, since sweeps are planned from a recipe.
    from lehr.sweeps import planned_trainings

    trainings = planned_trainings(recipe)
    refuse_backend_misfits(recipe.backend, table.get("backend", {}), trials=trainings, place=place)
    return recipe


def flat_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """`model.dropout` in TOML is a table within a table; here it is one key again."""
    flat = {key: value for key, value in table.items() if key != "model" or not isinstance(value, dict)}
    if len(flat) < len(table):
        flat |= {f"{MODEL_PREFIX}{key}": value for key, value in table["model"].items()}
    return flat


def _refuse_foreign_keys(name: str, table: dict[str, Any], place: str) -> None:
    for key in table:
        owners = _MODELS_WITH.get(key, (name,))
        if name not in owners:
            own = [other for other, models in _MODELS_WITH.items() if name in models]
            raise RecipeError(
                f"model.{key} is no key of the model {name!r}",
                place=place,
                hint=f"it belongs to {' and '.join(owners)}; {name} has {', '.join(own)}",
            )


def _convert(table: dict[str, Any], kind: type[Any], place: str) -> Any:
    try:
        return msgspec.convert(table, type=kind)
    except msgspec.ValidationError as fault:
        message, _, path = str(fault).partition(" - at ")
        where = path.strip("`").removeprefix("$").removeprefix(".")
        raise RecipeError(message, place=f"{place}: {where}" if where else place) from fault


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """A sweep converts hundreds of points, and resolving names is most of that."""
    return get_type_hints(kind, include_extras=True)


def _refuse_unknown_keys(kind: Any, table: Any, place: str, path: str) -> None:
    """Walk the tables beside their types; msgspec would refuse too, but without a suggestion."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if not isinstance(table, dict) or not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return
    known = _hints(kind)
    for key, value in table.items():
        where = f"{path}.{key}" if path else key
        if key not in known or key == "schema":
            choices = [name for name in known if name != "schema"]
            near = difflib.get_close_matches(key, choices, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(choices)}"
            raise RecipeError(f"unknown key {where!r}", place=place, hint=hint)
        _refuse_unknown_keys(known[key], value, place, where)

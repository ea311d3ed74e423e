"""The tables of lehr.toml, each with the types, limits and defaults of its keys; [data] and [checks] stand in
data_tables, [evaluation] and [gate] in gate_tables.

What keys mean to one another is checked by the rules beside this module, when a recipe is read (`recipe.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lehr.contracts.document import Part
from lehr.contracts.key_types import (
    NAME_PATTERN,
    BackendKind,
    BelowOne,
    Count,
    Fraction,
    InstanceType,
    NonNegativeFloat,
    PositiveFloat,
    Probability,
)


class Project(Part, frozen=True, kw_only=True):
    """[project]: its name is part of every key, so it is short, lower-case and plain."""

    name: Annotated[str, Meta(pattern=NAME_PATTERN)]
    task: Literal[
        "image_classification",
        "image_segmentation",
        "object_detection",
        "audio_classification",
        "tabular_classification",
        "tabular_regression",
    ]


class Model(Part, frozen=True, kw_only=True):
    """[model]: a built-in name, or `factory = "module:function"` of the project's own code.

    `hidden` is of the mlp, `channels` of cnn, audio_cnn, unet and detector, `depth` and `width` of the resnet,
    `dropout` of mlp, cnn and audio_cnn. `mels`, `window_ms` and `hop_ms` are of the audio_cnn's spectrogram.
    """

    name: Literal["mlp", "cnn", "resnet", "unet", "detector", "audio_cnn", "custom"] = "mlp"
    factory: str = ""
    hidden: tuple[Count, ...] = (128,)
    dropout: Probability = 0.2
    channels: Annotated[tuple[Count, ...], Meta(min_length=1)] = (32, 64)
    depth: Literal[8, 14, 20] = 8
    width: Count = 16
    mels: Annotated[int, Meta(ge=4, le=256)] = 40
    window_ms: Annotated[float, Meta(ge=2.0, le=200.0)] = 25.0
    hop_ms: Annotated[float, Meta(ge=1.0, le=200.0)] = 10.0


class Hooks(Part, frozen=True, kw_only=True):
    """[hooks]: functions of the project's own code, `"module:function"`, in the place of the trainer's.

    Signatures stand in docs/own-models.md; a hook together with a setting that it replaces is refused, see hook_rules.
    """

    loss: str = ""
    metrics: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    augment: str = ""
    optimizer: str = ""


class Augment(Part, frozen=True, kw_only=True):
    """[augment]: what is done at random to the rows of a training batch, and to no others; nothing by default.

    `crop_padding` pixels of black are laid around an image and a window of its own size is cut out; `shift` is a
    share of each side, and interpolates, as `rotation_degrees` does, up to that many either way. `brightness` is a
    share of white that is added or taken away at most, `contrast` how far the spread about an image's mean changes.
    Of sound: `time_shift` is a share of the length, either way, and leaves silence; `gain_db` is up to so much louder
    or softer.
    """

    crop_padding: Annotated[int, Meta(ge=0, le=64)] = 0
    horizontal_flip: bool = False
    rotation_degrees: Annotated[float, Meta(ge=0.0, le=180.0)] = 0.0
    shift: Fraction = 0.0
    time_shift: Fraction = 0.0
    gain_db: Annotated[float, Meta(ge=0.0, le=40.0)] = 0.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0


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
    loss: Literal[
        "cross_entropy",
        "focal",
        "binary_cross_entropy",
        "dice",
        "cross_entropy_dice",
        "mse",
        "huber",
        "detection",
    ] = "cross_entropy"
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
    objective: (
        Literal["validation_loss", "validation_accuracy", "validation_mean_iou", "validation_map50"] | None
    ) = None
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


class Approval(Part, frozen=True, kw_only=True):
    """[approval]: whether a person has to agree to a promotion, and for how long one is waited for.

    A run ends after seven days in all, and its project has no other run meanwhile.
    """

    required: bool = False
    expires_after_h: Annotated[int, Meta(ge=1, le=120)] = 72


class Rollout(Part, frozen=True, kw_only=True):
    """[rollout]: how a model that may be promoted takes the champion's place.

    As a "canary" it answers a share of the requests for `bake_minutes`, as a "shadow" it is asked beside the champion
    and answers nobody. What it does then is compared with the champion. Under `min_requests` it decides nothing.
    A canary's labels are compared only with `max_disagreement_percent`: that costs a second scoring.
    """

    strategy: Literal["immediate", "canary", "shadow"] = "immediate"
    share_percent: Annotated[float, Meta(gt=0.0, le=100.0)] = 10.0
    bake_minutes: Annotated[int, Meta(ge=1, le=1440)] = 30
    min_requests: Count = 100
    max_error_percent: Annotated[float, Meta(ge=0.0, le=100.0)] = 1.0
    max_latency_factor: Annotated[float, Meta(gt=1.0, le=100.0)] = 2.0
    max_disagreement_percent: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None


class Watch(Part, frozen=True, kw_only=True):
    """[watch]: when what the endpoint is asked counts as drifted from the training data, see `lehr.drift`.

    A column has drifted if it is further away than `max_psi` or `max_distance` allow, and that is no chance: with
    `false_alarm_rate` shared out among all columns of a look. Fewer than `min_rows` within `window_h` say nothing.
    A champion is too often wrong if `min_labels` labels that came back say that it does not reach `min_live_accuracy`.
    """

    window_h: Annotated[int, Meta(ge=1, le=744)] = 24
    min_rows: Annotated[int, Meta(ge=50)] = 500
    max_psi: PositiveFloat = 0.2
    max_distance: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.1
    false_alarm_rate: Annotated[float, Meta(gt=0.0, le=0.5)] = 0.001
    min_labels: Annotated[int, Meta(ge=20)] = 100
    min_live_accuracy: Probability = 0.0


class Retrain(Part, frozen=True, kw_only=True):
    """[retrain]: which runs start by themselves, by drift or by a schedule. `max_usd_per_month` is of those alone, by
    their worst case; `cooldown_h` is of drift.

    With `max_usd_per_point` one starts only if what is expected of it is worth that (`lehr.retraining`), or if the
    champion was trained `max_age_d` days ago.
    """

    on_drift: bool = False
    cooldown_h: Annotated[int, Meta(ge=1, le=8784)] = 24
    max_usd_per_month: PositiveFloat | None = None
    max_usd_per_point: PositiveFloat | None = None
    max_age_d: Annotated[int, Meta(ge=1, le=3660)] | None = None


class Budget(Part, frozen=True, kw_only=True):
    """[budget]: in USD, held against the worst case before a run starts; left out means no limit.

    A month is a calendar month in UTC, and the project's. At `stop_at_usd` the training of a run stops, and the best
    that it has by then is its candidate; a limit that would refuse the run is held first.
    """

    max_usd_per_run: PositiveFloat | None = None
    max_usd_per_month: PositiveFloat | None = None
    stop_at_usd: PositiveFloat | None = None

"""The project's own loss, metrics, augmentation and optimiser, in the place of the trainer's.

    loss(logits, labels)          float32 [rows, classes] and int64 [rows] -> their mean loss, a scalar tensor; where
                                  pixels have labels [rows, classes, height, width] and [rows, height, width]
    metric(logits, labels)        of all held-out rows at once, on the CPU -> a number, of which more is better
    augment(pixels, generator)    float32 in [0, 1], [rows, height, width] or [rows, height, width, channels] -> as many
    optimizer(model, learning_rate)   the module and [training] learning_rate -> a torch.optim.Optimizer

What a hook gives is checked at every call, which costs no wait for the device. An error names the line of the
project, and what the hook was given. The generator is on the pixels' device, and is seeded by the recipe's seed and the
number of the update: a resumed run draws what an uninterrupted one does. Torch's own streams are restored as well.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lehr.contracts.hook_rules import metric_name
from lehr.contracts.recipe_tables import Hooks, Training
from lehr_trainer.errors import HangError, HookError, ModelCodeError
from lehr_trainer.failure import plain, project_line
from lehr_trainer.losses import Loss
from lehr_trainer.memory import is_out_of_memory
from lehr_trainer.models.custom import find_function

Tensor = Any
_TRIAL_ROWS_OF_A_CLASS = 2
_SIGNATURES = {
    "loss": "it is loss(logits, labels), and returns their mean loss as a scalar tensor",
    "metrics": "it is metric(logits, labels), and returns a number",
    "augment": "it is augment(pixels, generator), and returns float32 pixels of the same shape",
    "optimizer": "it is optimizer(model, learning_rate), and returns a torch.optim.Optimizer of the model's parameters",
}


class Hook:
    """A function of the project that [hooks] names under `key`. Raises HookError if there is none."""

    def __init__(self, key: str, name: str, code_folder: Path) -> None:
        self.name = metric_name(name)
        self._key, self._folder = key, code_folder
        try:
            self._function = find_function(name, code_folder, key=f"hooks.{key}")
        except ModelCodeError as fault:
            raise HookError(fault.message, place=fault.place, hint=fault.hint) from fault

    def __call__(self, *arguments: Any) -> Any:
        """Call it. Raises HookError for whatever it raises, but for a hang and a want of memory, which stay so."""
        try:
            return self._function(*arguments)
        except (HookError, HangError):
            raise
        except Exception as fault:
            if is_out_of_memory(fault):
                raise
            line = project_line(fault, self._folder)
            place = line[0] if line else self._definition()
            given = " and ".join(describe(argument) for argument in arguments)
            message = plain(f"{type(fault).__name__}: {fault}")
            raise HookError(
                f"{message}, given {given}", place=f"hooks.{self._key}, {place}", hint=_SIGNATURES[self._key]
            ) from fault

    def refusal(self, message: str) -> HookError:
        """The error for what it gave."""
        return HookError(
            message, place=f"hooks.{self._key}, {self._definition()}", hint=_SIGNATURES[self._key]
        )

    def _definition(self) -> str:
        """`file.py:12 in name`, or the name alone for what is no plain function."""
        function = inspect.unwrap(self._function)
        code = getattr(function, "__code__", None)
        if code is None or not Path(code.co_filename).is_relative_to(self._folder):
            return self.name
        return f"{Path(code.co_filename).relative_to(self._folder)}:{code.co_firstlineno} in {self.name}"


@dataclass(frozen=True, kw_only=True)
class ProjectHooks:
    """Those that the recipe names; None, and no metrics, for the trainer's own."""

    loss: Loss | None = None
    metrics: tuple[Hook, ...] = ()
    augment: Callable[[Tensor, int], Tensor] | None = None
    optimizer: Callable[[Any], Any] | None = None


NO_HOOKS = ProjectHooks()


def find_hooks(
    hooks: Hooks, training: Training, *, classes: int, code_folder: Path, mask_shape: tuple[int, ...] = ()
) -> ProjectHooks:
    """Find the functions, and try loss and metrics on a few rows now rather than an epoch later. Raises HookError.

    `mask_shape` is height and width where pixels have labels.
    """
    own_loss = Hook("loss", hooks.loss, code_folder) if hooks.loss else None
    found = ProjectHooks(
        loss=checked_loss(own_loss) if own_loss else None,
        metrics=tuple(Hook("metrics", name, code_folder) for name in hooks.metrics),
        augment=_seeded_augment(Hook("augment", hooks.augment, code_folder), training.seed)
        if hooks.augment
        else None,
        optimizer=_checked_optimizer(Hook("optimizer", hooks.optimizer, code_folder), training.learning_rate)
        if hooks.optimizer
        else None,
    )
    if mask_shape:
        pixels = torch.arange(_TRIAL_ROWS_OF_A_CLASS * math.prod(mask_shape))
        labels = (pixels % classes).view(_TRIAL_ROWS_OF_A_CLASS, *mask_shape)
    else:
        labels = torch.arange(max(1, classes)).repeat(_TRIAL_ROWS_OF_A_CLASS)
    shape = (len(labels), max(1, classes), *mask_shape)
    logits = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    if own_loss and found.loss:
        _refuse_sum(found.loss, logits, labels, own_loss)
    for metric in found.metrics:
        measure(metric, logits, labels)
    return found


def checked_loss(hook: Hook) -> Loss:
    """`hook`, refused as soon as it gives something that nothing can be learnt from."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        value = hook(logits, labels)
        if not isinstance(value, torch.Tensor) or value.dim() or not value.is_floating_point():
            raise hook.refusal(f"gives {describe(value)}")
        if logits.requires_grad and not value.requires_grad:
            raise hook.refusal(
                "gives a loss that has no gradient: it was detached, or does not depend on logits"
            )
        return value

    return loss


def _refuse_sum(loss: Loss, logits: Tensor, labels: Tensor, hook: Hook) -> None:
    """Raise HookError for a loss that every row given twice doubles."""
    logits = logits.clone().requires_grad_()
    once = float(loss(logits, labels).detach())
    twice = float(loss(torch.cat([logits, logits]), torch.cat([labels, labels])).detach())
    if once and math.isclose(twice, 2 * once, rel_tol=1e-4):
        raise hook.refusal("gives the sum over the rows: every row twice gives twice the loss")


def measure(hook: Hook, logits: Tensor, labels: Tensor) -> float:
    """What a metric says of `logits` and `labels`, both on the CPU; it may not be finite. Raises HookError."""
    value = hook(logits, labels)
    if isinstance(value, torch.Tensor) and not value.dim():
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise hook.refusal(f"gives {describe(value)}")
    return float(value)


@dataclass
class ValidationMetrics:
    """Gathers the outputs of the held-out rows, and measures them all at once: a mean of parts is not every metric."""

    hooks: tuple[Hook, ...]
    _parts: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        if self.hooks:
            self._parts.append((logits.float().cpu(), labels.cpu()))

    def take(self) -> dict[str, float | None]:
        """By name; None for what is not finite. Forgets the rows. Raises HookError."""
        if not self._parts:
            return {}
        logits, labels = (torch.cat(part) for part in zip(*self._parts, strict=True))
        self._parts.clear()
        values = {hook.name: measure(hook, logits.clone(), labels.clone()) for hook in self.hooks}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}


def update_seed(seed: int, update: int) -> int:
    """The seed of an update's generator: apart from its neighbours', and from other seeds'."""
    return int.from_bytes(hashlib.sha256(f"augment {seed} {update}".encode()).digest()[:7], "big")


def _seeded_augment(hook: Hook, seed: int) -> Callable[[Tensor, int], Tensor]:
    """Pixels and a number, which no other call of the training has, to pixels."""

    def augment(pixels: Tensor, number: int) -> Tensor:
        generator = torch.Generator(device=pixels.device).manual_seed(update_seed(seed, number))
        changed = hook(pixels, generator)
        if not isinstance(changed, torch.Tensor) or (changed.shape, changed.dtype, changed.device) != (
            pixels.shape,
            torch.float32,
            pixels.device,
        ):
            raise hook.refusal(f"gives {describe(changed)} for {describe(pixels)}")
        return changed

    return augment


def _checked_optimizer(hook: Hook, rate: float) -> Callable[[Any], Any]:
    def make(model: Any) -> Any:
        optimizer = hook(model, rate)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise hook.refusal(f"gives {describe(optimizer)}")
        step = inspect.signature(optimizer.step).parameters.get("closure")
        if step is not None and step.default is inspect.Parameter.empty:
            raise hook.refusal(
                f"gives {type(optimizer).__name__}, which needs a closure: an update has one pass"
            )
        own = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
        moved = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if not own & moved:
            raise hook.refusal("gives an optimiser of none of the model's trainable parameters")
        return optimizer

    return make


def rate_shares(optimizer: Any, learning_rate: float) -> list[float]:
    """What each group's rate is of [training] learning_rate; the schedule moves all of them together."""
    return [float(group.get("lr", learning_rate)) / learning_rate for group in optimizer.param_groups]


def describe(value: Any) -> str:
    """Type and shape of a tensor, of anything else its type."""
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return (
        "None" if value is None else f"{value!r}" if isinstance(value, float | int) else type(value).__name__
    )

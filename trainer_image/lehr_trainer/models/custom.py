"""The project's own model: found, built, and asked for two rows of logits before it is trained."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from lehr_runtime.detection import CORNERS
from lehr_trainer.errors import ModelCodeError
from lehr_trainer.models.keras_module import adapt_keras, prepare_keras

Module = Any


def build_custom(
    factory: str,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    code_folder: Path,
    log: Callable[[str], None] = print,
    has_masks: bool = False,
    finds_boxes: bool = False,
) -> Module:
    """Call `factory`, "module:function". Raises ModelCodeError if it gives no classifier, or with `has_masks` none of
    pixels, or with `finds_boxes` no maps of boxes.
    """
    build = find_function(factory, code_folder, key="model.factory")
    module = build(input_shape=input_shape, classes=classes)
    module = adapt_keras(module, input_shape=input_shape, place=factory, log=log)
    if not isinstance(module, nn.Module):
        raise ModelCodeError(
            f"returned {type(module).__name__}",
            place=factory,
            hint="return a torch.nn.Module or a keras.Model",
        )
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ModelCodeError("returned a module without trainable parameters", place=factory)
    if finds_boxes:
        _check_maps(module, factory, input_shape, classes)
        return module
    outputs = (classes, *input_shape[:2]) if has_masks else (classes,)
    _check_logits(module, factory, input_shape, outputs)
    return module


@contextmanager
def importable(code_folder: Path) -> Iterator[None]:
    """Make the project's files importable for as long as it trains, and forget them afterwards."""
    prepare_keras()
    # At the end of the path: a project's `random.py` must not stand in for Python's.
    sys.path.append(str(code_folder))
    try:
        yield
    finally:
        sys.path.remove(str(code_folder))
        for name, module in list(sys.modules.items()):
            if _is_within(module, code_folder):
                del sys.modules[name]


def find_function(name: str, code_folder: Path, *, key: str) -> Callable[..., Any]:
    """The function `name`, "module:function", of the project. Raises ModelCodeError, which names the recipe's `key`."""
    module_name, _, function_name = name.partition(":")
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as fault:
        if fault.name != module_name:
            raise
        present = ", ".join(sorted(path.name for path in code_folder.glob("*.py"))) or "no Python file"
        raise ModelCodeError(
            f"there is no module {module_name!r}", place=key, hint=f"the project has {present}"
        ) from fault
    if not _is_within(module, code_folder):
        raise ModelCodeError(
            f"{module_name!r} is the name of an installed module",
            place=key,
            hint="rename the file",
        )
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ModelCodeError(f"{module_name}.py has no function {function_name!r}", place=key)
    return function  # type: ignore[no-any-return]


def _is_within(module: Any, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return Path(file).is_relative_to(folder)
    # A folder without an __init__.py is a module without a file.
    return type(module) is ModuleType and any(
        Path(part).is_relative_to(folder) for part in getattr(module, "__path__", ())
    )


def _check_logits(module: Module, place: str, input_shape: tuple[int, ...], outputs: tuple[int, ...]) -> None:
    """Two rows through the module now, rather than a shape error in the first step or in the export."""
    module.eval()
    chance = torch.rand(2, *input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, others = (module(rows) for rows in (torch.zeros(2, *input_shape), chance))
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, *outputs):
        seen = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelCodeError(
            f"for 2 rows the module gives {seen}", place=place, hint=f"it must give logits, {[2, *outputs]}"
        )
    if all(bool((one >= 0).all()) and torch.allclose(one.sum(1), torch.ones(())) for one in (logits, others)):
        raise ModelCodeError(
            "the module gives probabilities, which are never negative and add up to 1",
            place=place,
            hint="leave the softmax out, and give logits: the loss and the exported graph have one",
        )


def _check_maps(module: Module, place: str, input_shape: tuple[int, ...], classes: int) -> None:
    """As `_check_logits`, of a module that finds boxes."""
    module.eval()
    with torch.no_grad():
        maps = module(torch.zeros(2, *input_shape))
    if not isinstance(maps, torch.Tensor) or maps.dim() != 4 or maps.shape[:2] != (2, CORNERS + classes):
        seen = list(maps.shape) if isinstance(maps, torch.Tensor) else type(maps).__name__
        raise ModelCodeError(
            f"for 2 rows the module gives {seen}",
            place=place,
            hint=f"it must give maps, [2, {CORNERS + classes}, grid height, grid width]: see docs/detection.md",
        )

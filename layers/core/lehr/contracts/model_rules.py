"""Which keys of [model] and [augment] go together: those of another model would be ignored, so they are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lehr.contracts.hook_rules import FUNCTION_PATTERN
from lehr.errors import RecipeError

if TYPE_CHECKING:
    from lehr.contracts.recipe_tables import Augment, Model

# The models that have a key of [model]; `custom` ignores the mlp's, so that changing the name is enough to try one.
_MODELS_WITH = {
    "factory": ("custom",),
    "hidden": ("mlp", "custom"),
    "dropout": ("mlp", "cnn", "audio_cnn", "custom"),
    "channels": ("cnn", "audio_cnn", "unet", "detector"),
    "depth": ("resnet",),
    "width": ("resnet",),
    "mels": ("audio_cnn",),
    "window_ms": ("audio_cnn",),
    "hop_ms": ("audio_cnn",),
}


def refuse_model_misfits(model: Model, augment: Augment, table: Mapping[str, Any], *, place: str) -> None:
    """Raise RecipeError for the first of them. `table` is [model] as it was written."""
    if model.name == "custom" and not re.fullmatch(FUNCTION_PATTERN, model.factory):
        raise RecipeError(
            f"model.factory is {model.factory!r}",
            place=place,
            hint='write "module:function" of a file in the project',
        )
    if model.name == "unet" and "channels" not in table:
        raise RecipeError(
            "model.channels is missing",
            place=place,
            hint="write the channels of a unet's levels, for example channels = [16, 32, 64]",
        )
    refuse_foreign_keys(model.name, table, place)
    if augment.crop_padding and augment.shift:
        raise RecipeError(
            "augment.crop_padding and augment.shift both move the image",
            place=place,
            hint="leave one out: crop_padding moves by whole pixels, shift interpolates",
        )


def refuse_foreign_keys(name: str, table: Mapping[str, Any], place: str) -> None:
    for key in table:
        owners = _MODELS_WITH.get(key, (name,))
        if name not in owners:
            own = [other for other, models in _MODELS_WITH.items() if name in models]
            raise RecipeError(
                f"model.{key} is no key of the model {name!r}",
                place=place,
                hint=f"it belongs to {' and '.join(owners)}; {name} has {', '.join(own)}",
            )

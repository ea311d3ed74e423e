"""Parameters that training leaves as they are, by patterns over their names.

A pattern is that of a shell, over the names of `module.named_parameters()`: `backbone.*`, `*.bias`. A submodule whose
own parameters are all frozen runs as in evaluation: a batch norm keeps its statistics, as Keras does for
`trainable = False`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from lehr_trainer.errors import JobInputError

_NAMES_SHOWN = 8


def freeze_parameters(model: Any, patterns: Sequence[str]) -> list[Any]:
    """Freeze what matches, in place; return the submodules to keep in evaluation mode.

    Raises JobInputError for a pattern without a match, or when nothing is left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
            raise JobInputError(
                f"freeze has {pattern!r}, which is no parameter",
                place="training",
                hint=f"the model has {shown}",
            )
    frozen = {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}
    for name, parameter in model.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise JobInputError(
            "freeze leaves no parameter to train",
            place="training",
            hint="freeze fewer, for example not the last layer",
        )
    return [
        module
        for prefix, module in model.named_modules()
        if (own := [name for name, _ in module.named_parameters(prefix, recurse=False)])
        and frozen.issuperset(own)
    ]

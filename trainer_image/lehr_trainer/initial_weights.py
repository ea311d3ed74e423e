"""The weights of a model version as a file, and a training that starts from those of the champion.

`weights.safetensors` of a package holds every parameter and buffer under the name that it has in the trained module:
the ONNX graph beside it has neither all of them nor always these names. It is no pickle, and nothing serves it.

What does not fit is refused, since a network of which half was taken by accident looks like one that learns slowly.
Where that is meant, as for a new head, `start_anew` says so by patterns over names, as `freeze` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lehr_runtime.shards import open_shard, write_shard
from lehr_trainer.errors import InitialWeightsError
from lehr_trainer.job import Job

_NAMES_SHOWN = 8


def write_weights(model: Any, path: Path, log: Callable[[str], None]) -> None:
    """Write the state of `model`, which is on the CPU; for a type that safetensors lacks, a line of the log instead."""
    tensors = {
        name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, torch.Tensor)
    }
    try:
        path.write_bytes(write_shard({name: tensor.detach().numpy() for name, tensor in tensors.items()}))
    except TypeError as fault:
        log(f"{path.name} is not written, so that no training can start from this model: {fault}")


def start_from_champion(model: Any, job: Job, log: Callable[[str], None]) -> str:
    """Give `model` the champion's weights if the job says so. Returns their version, empty for random weights.

    Raises InitialWeightsError, MalformedDataError.
    """
    if job.training.start_from is None:
        return ""
    if job.initial_weights is None:
        log(
            'start_from = "champion": the project has no champion yet, so training starts from random weights'
        )
        return ""
    taken, anew = take_weights(model, open_shard(job.initial_weights), job.training.start_anew)
    line = f"starts from the weights of champion {job.initial_version}: {len(taken)} tensors"
    log(line + (f", and {len(anew)} anew: {_shown(anew)}" if anew else ""))
    return job.initial_version


def take_weights(
    model: Any, saved: Mapping[str, np.ndarray], start_anew: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Copy `saved` into `model` by name, without what `start_anew` matches. Returns the names taken and those left.

    Raises InitialWeightsError for a name or a shape that only one side has, and a pattern that matches nothing.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, torch.Tensor)}
    names = [*own, *(name for name in saved if name not in own)]
    for pattern in start_anew:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InitialWeightsError(
                f"start_anew has {pattern!r}, which is no parameter",
                place="training",
                hint=f"the model has {_shown(names)}",
            )
    anew = {name for name in names if any(fnmatchcase(name, pattern) for pattern in start_anew)}
    misfits: dict[str, str] = {}
    for name in names:
        if name in anew:
            continue
        here, there = (_described(side.get(name)) for side in (own, saved))
        if here != there:
            misfits[name] = f"{name} ({there} there, {here} here)"
    if misfits:
        raise InitialWeightsError(
            f"the champion's weights do not fit the model: {_shown(list(misfits.values()))}",
            place="training.start_from",
            hint=f"for random weights there: start_anew = {_patterns(misfits)}; or leave start_from out",
        )
    taken = [name for name in own if name not in anew]
    if not taken:
        raise InitialWeightsError(
            "start_anew leaves nothing of the champion's weights",
            place="training",
            hint="name fewer parameters, or leave start_from out",
        )
    with torch.no_grad():
        for name in taken:
            # Mapped from the file, and read-only: torch wants an array of its own.
            own[name].copy_(torch.from_numpy(saved[name].copy()))
    return taken, [name for name in own if name in anew]


def _patterns(names: Iterable[str]) -> str:
    """Patterns that match the layers of `names`, as they stand in a recipe."""
    layers = dict.fromkeys(f"{name.rpartition('.')[0]}.*" if "." in name else name for name in names)
    return json.dumps(list(layers)[:_NAMES_SHOWN])


def _described(value: Any) -> str:
    if value is None:
        return "none"
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")

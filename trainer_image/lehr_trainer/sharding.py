"""A model that is cut up over the processes, with its gradients and the optimiser's state: torch's FSDP2.

Each process keeps 1/n of every parameter, and has the whole of a unit only while the unit computes. Units are the
elements of the model's `nn.Sequential` and `nn.ModuleList` containers, and the model itself for the rest. What leaves
the processes (checkpoints, the model that is exported) is whole: nobody reads shards but the processes themselves.

The only module that knows DTensor, which is imported when a model is cut up: that takes time that others need not wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from lehr_trainer.errors import JobInputError
from lehr_trainer.models.keras_module import has_keras

Tensor = Any
Module = Any
# A smaller unit is not worth an exchange of its own.
UNIT_PARAMETERS = 1_000_000


def shard(model: Module, *, unit_parameters: int = UNIT_PARAMETERS) -> None:
    """Cut `model` up in place, over all processes; afterwards its parameters are DTensors.

    Raises JobInputError for a model of Keras, which would compute with the whole parameters that it holds itself.
    """
    from torch.distributed.fsdp import fully_shard

    if has_keras(model):
        raise JobInputError(
            'sharding = "fsdp" does not go with a model of Keras, which holds its parameters itself',
            place="training",
            hint="leave sharding out: every process has the whole model then; or write it in torch",
        )
    owners: dict[int, int] = {}
    for _, parameter in model.named_parameters(remove_duplicate=False):
        owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    for unit in reversed(list(_elements(model))):
        parameters = list(unit.parameters())
        # A parameter that two modules share belongs to the model.
        is_own = all(owners[id(parameter)] == 1 for parameter in parameters)
        if is_own and sum(parameter.numel() for parameter in parameters) >= unit_parameters:
            fully_shard(unit)
    fully_shard(model)


def whole(state: Any, *, keep: bool) -> Any:
    """A state of nested mappings and lists with whole tensors, on the CPU, for shards.

    All processes have to call this with the same state; only where `keep` is said they keep what they get.
    """
    if _is_shard(state):
        tensor = state.full_tensor()
        return tensor.cpu() if keep else None
    if isinstance(state, Mapping):
        return {name: whole(value, keep=keep) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(whole(value, keep=keep) for value in state)
    return state


def like(state: Any, pattern: Any) -> Any:
    """The inverse of `whole`: shards for the whole tensors of `state`, wherever `pattern` has shards."""
    if _is_shard(pattern):
        return _cut(state, pattern)
    if isinstance(pattern, Mapping):
        return {name: like(value, pattern.get(name)) for name, value in state.items()}
    return state


def optimizer_state(state: Mapping[str, Any], optimizer: Any) -> dict[str, Any]:
    """`like`, for the state of an optimiser, which has numbers for its parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = {
        number: {
            name: _cut(value, parameters[number])
            if isinstance(value, torch.Tensor) and value.shape == parameters[number].shape
            else value
            for name, value in entry.items()
        }
        for number, entry in state["state"].items()
    }
    return {**state, "state": moments}


def local(tensor: Tensor) -> Tensor:
    """This process' part of a shard, sharing its memory; any other tensor as it is."""
    return tensor.to_local() if _is_shard(tensor) else tensor


def _elements(model: Module) -> Any:
    for module in model.modules():
        if isinstance(module, nn.Sequential | nn.ModuleList):
            yield from module


def _cut(tensor: Tensor, pattern: Any) -> Any:
    if not _is_shard(pattern):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(
        tensor.to(pattern.device), pattern.device_mesh, pattern.placements, src_data_rank=None
    )


def _is_shard(value: Any) -> bool:
    """Whether it is a DTensor: nothing else in torch has placements."""
    return isinstance(value, torch.Tensor) and hasattr(value, "placements")

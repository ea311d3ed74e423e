"""The optimisers that a recipe can name.

Fused where torch has a fused kernel (CPU and CUDA): one call for all parameters, bit-identical from run to run.
torch has none for RMSprop and Muon.

Weight decay holds for matrices and filters, not for biases and norms, which are the parameters of fewer than two
dimensions: pulling them to zero does not regularise, it shifts activations (He et al. 2019,
https://arxiv.org/abs/1812.01187, section 3.1). For adam, sgd and rmsprop it is L2 in the gradient, for adamw and muon
it is decoupled.

Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/) orthogonalises the update of hidden matrices; the rest,
which is biases, norms, filters, embeddings and the last matrix (the head), is AdamW's. Its step is scaled to the root
mean square of AdamW's (Liu et al. 2025, https://arxiv.org/abs/2502.16982, equation 4), so that one learning rate
and one weight decay fit both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lehr.contracts.recipe_tables import Training
from lehr_trainer.errors import JobInputError
from lehr_trainer.fused_adam import FusedAdam

MUON_MOMENTUM = 0.95


class OptimizerPair:
    """Two optimisers over the parts of one model, used as one."""

    def __init__(self, *optimizers: Any) -> None:
        self._optimizers = optimizers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def zero_grad(self) -> None:
        for optimizer in self._optimizers:
            optimizer.zero_grad()

    def step(self) -> None:
        for optimizer in self._optimizers:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {str(number): optimizer.state_dict() for number, optimizer in enumerate(self._optimizers)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for number, optimizer in enumerate(self._optimizers):
            optimizer.load_state_dict(state[str(number)])


def make_optimizer(model: Any, training: Training) -> Any:
    """The recipe's optimiser over the trainable parameters of `model`.

    Raises JobInputError when muon finds no hidden matrix.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    momentum = training.momentum or 0.0
    match training.optimizer:
        case "adam":
            return FusedAdam(
                torch.optim.Adam(_groups(parameters, training), lr=training.learning_rate, fused=True)
            )
        case "adamw":
            return _adamw(parameters, training)
        case "sgd":
            return torch.optim.SGD(
                _groups(parameters, training),
                lr=training.learning_rate,
                momentum=momentum,
                nesterov=training.nesterov,
                # There is no fused kernel for shards.
                fused=training.sharding == "none",
            )
        case "rmsprop":
            return torch.optim.RMSprop(
                _groups(parameters, training), lr=training.learning_rate, momentum=momentum
            )
        case "muon":
            return _muon(model, parameters, training)


def _groups(parameters: list[Any], training: Training) -> list[dict[str, Any]]:
    """One group without weight decay; else one that decays and, if there is any, one that does not."""
    if not training.weight_decay:
        return [{"params": parameters, "weight_decay": 0.0}]
    groups = [
        {"params": [one for one in parameters if one.ndim >= 2], "weight_decay": training.weight_decay},
        {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _adamw(parameters: list[Any], training: Training) -> Any:
    return FusedAdam(torch.optim.AdamW(_groups(parameters, training), lr=training.learning_rate, fused=True))


def _muon(model: Any, parameters: list[Any], training: Training) -> Any:
    hidden = _hidden_matrices(model)
    if not hidden:
        raise JobInputError(
            'optimizer = "muon" finds no hidden matrix in the model',
            place="training",
            hint="it is for models with a matrix before the last one; take adamw",
        )
    muon = torch.optim.Muon(
        hidden,
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        momentum=MUON_MOMENTUM if training.momentum is None else training.momentum,
        adjust_lr_fn="match_rms_adamw",
    )
    of_muon = {id(parameter) for parameter in hidden}
    rest = [parameter for parameter in parameters if id(parameter) not in of_muon]
    return OptimizerPair(muon, _adamw(rest, training)) if rest else muon


def _hidden_matrices(model: Any) -> list[Any]:
    """Trainable two-dimensional parameters, without embeddings and the head: the last matrix of all."""
    embeddings = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding | torch.nn.EmbeddingBag)
    }
    matrices = [one for one in model.parameters() if one.ndim == 2 and id(one) not in embeddings]
    return [one for one in matrices[:-1] if one.requires_grad]

"""torch's fused Adam and AdamW with the same arithmetic and less around it.

In a step of a small model, what `torch.optim.Adam` does in Python before it calls its kernel takes longer than the
kernel. Here the lists of parameters and moments are made once, and a step is two calls. `torch._fused_adam_` and
`torch._fused_adamw_` are private to torch: tests hold that every step gives the bits of `torch.optim`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class FusedAdam:
    """Steps `optimizer`, a torch.optim.Adam or AdamW with fused=True, which keeps the state and its form."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        decoupled = isinstance(optimizer, torch.optim.AdamW)
        self._kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
        self._moments: list[tuple[list[Any], list[Any], list[Any], list[Any]]] = []

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = self._optimizer.param_groups
        return groups

    def zero_grad(self) -> None:
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self) -> None:
        """The first step is torch's own, which makes the state, and so is one for which a gradient is missing."""
        gradients = [
            [parameter.grad for parameter in group["params"]] for group in self._optimizer.param_groups
        ]
        if not self._moments or any(one is None for group in gradients for one in group):
            self._optimizer.step()
            self._moments = self._find_moments()
            return
        for group, (parameters, means, squares, steps), grads in zip(
            self._optimizer.param_groups, self._moments, gradients, strict=True
        ):
            torch._foreach_add_(steps, 1)
            beta1, beta2 = group["betas"]
            self._kernel(
                parameters,
                grads,
                means,
                squares,
                [],
                steps,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self._optimizer.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._optimizer.load_state_dict(state)
        self._moments = []

    def _find_moments(self) -> list[tuple[list[Any], list[Any], list[Any], list[Any]]]:
        """Of every group: parameters, means, squares, step counts; none while a parameter has none yet.

        None either where parameters differ in type or device, which one call of the kernel does not take, nor where
        they are cut up over processes.
        """
        state, groups = self._optimizer.state, self._optimizer.param_groups
        parameters = [parameter for group in groups for parameter in group["params"]]
        kinds = {(parameter.device, parameter.dtype) for parameter in parameters}
        is_cut_up = any(hasattr(parameter, "placements") for parameter in parameters)
        if is_cut_up or len(kinds) > 1 or any(parameter not in state for parameter in parameters):
            return []
        return [
            (
                group["params"],
                *(
                    [state[one][name] for one in group["params"]]
                    for name in ("exp_avg", "exp_avg_sq", "step")
                ),
            )
            for group in groups
        ]

"""Our step of Adam and AdamW has the bits of torch's, with its private kernels underneath."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lehr_trainer.fused_adam import FusedAdam


def model() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.BatchNorm1d(30), nn.Linear(30, 4))


def groups(module: Any, decay: float) -> list[dict[str, Any]]:
    parameters = list(module.parameters())
    return [
        {"params": [one for one in parameters if one.ndim >= 2], "weight_decay": decay},
        {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
    ]


def train(module: Any, optimizer: Any, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 20, generator=generator), torch.randint(0, 4, (8,), generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = 0.01 / (1 + step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        if step == 5:
            module[3].bias.grad = None  # as of a part that this batch did not use
        optimizer.step()


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_twenty_steps_have_the_bits_of_torchs_own(kind: Any, decay: float) -> None:
    plain, ours = model(), model()
    expected = kind(groups(plain, decay), lr=0.01, fused=True)
    optimizer = FusedAdam(kind(groups(ours, decay), lr=0.01, fused=True))
    train(plain, expected, range(20))
    train(ours, optimizer, range(10))
    assert optimizer._moments, "the kernels were called by us"
    state = optimizer.state_dict()
    again = FusedAdam(kind(groups(ours, decay), lr=0.01, fused=True))
    again.load_state_dict(state)
    train(ours, again, range(10, 20))
    for one, other in zip(plain.state_dict().values(), ours.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    for name, tensors in expected.state_dict()["state"].items():
        for key, tensor in tensors.items():
            assert torch.equal(tensor, again.state_dict()["state"][name][key])


def test_parameters_of_two_types_are_left_to_torch() -> None:
    module = model()
    module[3].double()
    optimizer = FusedAdam(torch.optim.Adam(module.parameters(), fused=True))
    for _ in range(2):
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert not optimizer._moments

"""Optimisers: each goes where its formula says, and decay, clipping and freezing touch what they should."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lehr.contracts.recipe_tables import Training
from lehr_trainer.data import Examples
from lehr_trainer.errors import JobInputError
from lehr_trainer.freezing import freeze_parameters
from lehr_trainer.learner import Learner, Sums
from lehr_trainer.optim import make_optimizer

MakeJob = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("without_export")


class One(nn.Module):  # type: ignore[misc]
    """A single parameter, 1, of so many dimensions."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((1,) * dimensions))


def after_two_steps(model: Any, training: Training) -> None:
    """Two steps on a gradient of one."""
    optimizer = make_optimizer(model, training)
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"optimizer": "adam"}, 1 - 0.1 - 0.1),
        ({"optimizer": "adamw", "weight_decay": 0.5}, ((1 * 0.95) - 0.1) * 0.95 - 0.1),
        ({"optimizer": "sgd"}, 1 - 0.1 - 0.1),
        ({"optimizer": "sgd", "momentum": 0.9}, 1 - 0.1 - 0.1 * 1.9),
        ({"optimizer": "sgd", "momentum": 0.9, "nesterov": True}, 1 - 0.1 * 1.9 - 0.1 * (1 + 0.9 * 1.9)),
        ({"optimizer": "sgd", "weight_decay": 0.5}, (0.95 - 0.1) * 0.95 - 0.1),
        ({"optimizer": "rmsprop"}, 1 - 0.1 / 0.01**0.5 - 0.1 / (0.01 + 0.0099) ** 0.5),
    ],
)
def test_two_steps_on_a_gradient_of_one_go_where_the_formula_says(
    settings: dict[str, Any], expected: float
) -> None:
    model = One(2)
    after_two_steps(model, Training(learning_rate=0.1, **settings))
    assert model.weight.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_biases_and_norms_do_not_decay(optimizer: Any) -> None:
    vector, plain, matrix = One(1), One(1), One(2)
    after_two_steps(vector, Training(optimizer=optimizer, weight_decay=0.5))
    after_two_steps(matrix, Training(optimizer=optimizer, weight_decay=0.5))
    after_two_steps(plain, Training(optimizer=optimizer))
    assert vector.weight.item() == plain.weight.item()
    assert optimizer in ("adam", "rmsprop") or matrix.weight.item() != plain.weight.item()


def test_muon_orthogonalises_hidden_matrices_and_leaves_the_rest_to_adamw() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = make_optimizer(model, Training(optimizer="muon", learning_rate=0.1))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    moved = {name: before[name] - tensor for name, tensor in model.state_dict().items()}
    singular = torch.linalg.svdvals(moved.pop("1.weight") / (0.1 * 0.2 * 8**0.5))
    assert singular.min() > 0.5
    assert singular.max() < 1.5
    for name, step in moved.items():
        if "running" not in name and "num_batches" not in name:
            # Adam's first step is the learning rate in each element.
            torch.testing.assert_close(step.abs(), torch.full_like(step, 0.1), rtol=1e-3, atol=0)


def test_muon_without_a_hidden_matrix_is_refused() -> None:
    with pytest.raises(JobInputError, match=r"finds no hidden matrix .* take adamw"):
        make_optimizer(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), Training(optimizer="muon"))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop", "muon"])
def test_every_optimizer_of_the_recipe_trains(make_job: MakeJob, optimizer: str) -> None:
    job = make_job(optimizer=optimizer, learning_rate=0.1 if optimizer == "sgd" else 0.001, epochs=2)
    assert job.run() == 0
    first, last = job.summary.epochs
    assert last.loss < first.loss


def _learner(model: Any, **settings: Any) -> Learner:
    return Learner(model, Training(**settings), class_counts=[1, 1], total=10, device=torch.device("cpu"))


def test_a_clipped_gradient_has_the_norm_of_the_recipe() -> None:
    torch.manual_seed(0)
    examples = Examples(torch.full((4, 2, 2), 255, dtype=torch.uint8), torch.tensor([0, 0, 0, 0]))
    norms = {}
    for limit in (None, 0.01):
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        learner = _learner(model, optimizer="sgd", learning_rate=1.0, clip_norm=limit, batch_size=4)
        before = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        learner.update(examples, torch.arange(4), 0, Sums.zero("cpu"))
        after = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        norms[limit] = (after - before).norm().item()
    assert norms[0.01] == pytest.approx(0.01, rel=1e-3)
    assert norms[None] > 0.1


def test_frozen_parameters_and_the_statistics_of_frozen_norms_stay() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 2))
    frozen = freeze_parameters(model, ["0.*", "1.?e*", "1.bias"])
    assert frozen == [model[0], model[1]]
    assert [name for name, one in model.named_parameters() if one.requires_grad] == ["3.weight", "3.bias"]
    learner = _learner(model, freeze=("1.*",))
    learner.begin_epoch()
    assert [module.training for module in model] == [True, False, True, True]


def test_a_frozen_layer_is_exported_as_it_was_built(make_job: MakeJob) -> None:
    jobs = [
        make_job(freeze=("1.*",), epochs=epochs, optimizer="adamw", weight_decay=0.1) for epochs in (1, 2)
    ]
    digests = []
    for job in jobs:
        assert job.run() == 0
        state = torch.load(io.BytesIO(job.checkpoints[-1].read_bytes()[32:]), weights_only=True)["state"][
            "learner"
        ]["model"]
        digests.append((state["1.weight"], state["4.weight"]))
    assert torch.equal(digests[0][0], digests[1][0])
    assert not torch.equal(digests[0][1], digests[1][1])


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        (["backbone.*"], r"'backbone\.\*', which is no parameter \(the model has 0\.weight, 0\.bias\)"),
        (["*"], "leaves no parameter to train"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused(patterns: list[str], words: str) -> None:
    with pytest.raises(JobInputError, match=words):
        freeze_parameters(nn.Sequential(nn.Linear(2, 2)), patterns)

"""Successive halving: how many trials train for how many epochs, rung by rung.

Jamieson and Talwalkar 2016 (https://arxiv.org/abs/1502.07943), with the resource of Li et al. 2018
(https://arxiv.org/abs/1603.06560): a rung has the best 1 / `eta` of the trials of the one before it, rounded down and
at least one, and `eta` times the epochs. The last rung has all epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lehr.contracts.recipe import Recipe

DEFAULT_ETA = 3
DEFAULT_MIN_EPOCHS = 1


@dataclass(frozen=True)
class Rung:
    """So many trials, each trained until it has seen so many epochs in all."""

    trials: int
    epochs: int


def halving_rungs(trials: int, epochs: int, *, eta: int, min_epochs: int) -> list[Rung]:
    """At least one rung; trials fall and epochs grow from one to the next."""
    rungs = [Rung(trials, min(min_epochs, epochs))]
    while rungs[-1].trials > 1 and rungs[-1].epochs < epochs:
        fewer = max(1, rungs[-1].trials // eta)
        longer = epochs if fewer == 1 else min(epochs, rungs[-1].epochs * eta)
        rungs.append(Rung(fewer, longer))
    if rungs[-1].epochs < epochs:
        rungs[-1] = Rung(rungs[-1].trials, epochs)
    return rungs


def rungs_of(recipe: Recipe, trials: int) -> list[Rung]:
    """The rungs of `trials` trials of this recipe: one of all epochs, unless it halves."""
    epochs = recipe.training.epochs
    if recipe.trials.search != "successive_halving":
        return [Rung(trials, epochs)]
    return halving_rungs(
        trials,
        epochs,
        eta=recipe.trials.eta or DEFAULT_ETA,
        min_epochs=recipe.trials.min_epochs or DEFAULT_MIN_EPOCHS,
    )

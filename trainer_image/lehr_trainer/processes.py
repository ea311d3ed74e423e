"""How many processes a job has, and whether its settings fit as many."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from lehr.contracts.recipe import RECIPE_FILE
from lehr.contracts.recipe_tables import Training
from lehr_trainer.errors import JobInputError
from lehr_trainer.job import read_hosts, read_recipe
from lehr_trainer.ranks import Ranks, find_ranks, is_launched


def find_own_ranks(root: Path, environ: Mapping[str, str]) -> Ranks:
    """The place of this process; of one that launches, with as many as the recipe says, or as the host has GPUs.

    Raises JobInputError, or RecipeError for the project's lehr.toml.
    """
    if is_launched(environ):
        return find_ranks(environ, {})
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    asked = read_recipe(root).backend.processes_per_instance
    if gpus and asked > gpus:
        raise JobInputError(
            f"backend.processes_per_instance is {asked}, the host has {gpus} {'GPU' if gpus == 1 else 'GPUs'}",
            place=RECIPE_FILE,
            hint="a GPU trains in one process: ask for as many, or leave it out",
        )
    return find_ranks(environ, read_hosts(root), processes=asked or gpus or 1)


def refuse_misfits(training: Training, ranks: Ranks) -> None:
    """Raise JobInputError for settings that make no sense for as many processes."""
    if ranks.world_size > training.batch_size:
        raise JobInputError(
            f"batch_size is {training.batch_size}, fewer rows than the {ranks.world_size} processes",
            place="training",
            hint="make it larger, or lower backend.processes_per_instance or instance_count",
        )
    if training.sharding != "none" and ranks.world_size == 1:
        raise JobInputError(
            f'sharding = "{training.sharding}" has one process, which has nobody to share the model with',
            place="training",
            hint="take an instance with several GPUs, or a larger backend.processes_per_instance or instance_count",
        )

"""Which settings of [backend] and [training] fit together, where a job has several processes.

Checked when the recipe is read, before an instance is paid for. What depends on an instance's GPUs, the job checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lehr.errors import RecipeError

if TYPE_CHECKING:
    from lehr.contracts.recipe_tables import Backend, Training


def refuse_process_misfits(backend: Backend, trials: Sequence[Training], *, place: str) -> None:
    """Raise RecipeError, with `place`, for the first setting that cannot work; `trials` are their [training]."""
    misfits = (
        *_of_gpus(backend),
        *_of_functions(backend, trials),
        *_of_batches(backend, trials),
        *_of_sharding(backend, trials),
    )
    for message, hint in misfits:
        raise RecipeError(message, place=place, hint=hint)


Misfits = Iterator[tuple[str, str]]


def _of_gpus(backend: Backend) -> Misfits:
    asked, is_batch = backend.processes_per_instance, "batch" in (backend.kind, backend.fallback)
    if is_batch and 0 < backend.gpus < asked:
        yield (
            f"backend.processes_per_instance is {asked}, more than backend.gpus, which is {backend.gpus}",
            "a GPU trains in one process: make gpus as many, or leave processes_per_instance out",
        )


def _of_functions(backend: Backend, trials: Sequence[Training]) -> Misfits:
    if "lambda" not in (backend.kind, backend.fallback):
        return
    if backend.processes_per_instance > 1:
        yield (
            f"backend.processes_per_instance is {backend.processes_per_instance}, and a function trains in one process",
            "take lambda out of kind and fallback, or leave processes_per_instance out",
        )
    if any(training.sharding == "fsdp" for training in trials):
        yield (
            'training.sharding = "fsdp" needs several processes, and a function trains in one',
            "take lambda out of kind and fallback, or leave sharding out",
        )


def _of_batches(backend: Backend, trials: Sequence[Training]) -> Misfits:
    processes = backend.instance_count * max(1, backend.processes_per_instance)
    smallest = min(training.batch_size for training in trials)
    if smallest < processes:
        yield (
            f"training.batch_size is {smallest}, less than the {processes} processes of the backend",
            "a batch is shared out to all processes: make it larger, or lower backend.instance_count or "
            "processes_per_instance",
        )


def _of_sharding(backend: Backend, trials: Sequence[Training]) -> Misfits:
    sharded = [training for training in trials if training.sharding == "fsdp"]
    if sharded and backend.instance_count == 1 and backend.processes_per_instance == 1:
        yield (
            'training.sharding = "fsdp" has one process, which has nobody to share the model with',
            "make backend.processes_per_instance or instance_count larger, or leave sharding out",
        )
    if any(training.optimizer == "muon" for training in sharded):
        yield (
            'training.sharding = "fsdp" does not go with optimizer = "muon"',
            "muon needs whole matrices where fsdp has parts of them; take adamw",
        )

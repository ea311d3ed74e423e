"""Which keys of [backend] have a meaning for a function, and for how long one may train.

A key that would be ignored is refused, as elsewhere in the recipe: who writes `gpus = 1` expects a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from lehr.errors import RecipeError
from lehr.function_types import MAX_MEMORY_MB

if TYPE_CHECKING:
    from lehr.contracts.recipe_tables import Backend

# What a key may say that is true of a function anyway; None: nothing.
_TRUE_OF_A_FUNCTION: dict[str, Any] = {
    "instance_type": None,
    "fallback_instance_types": [],
    "spot": False,
    "max_wait_s": None,
    "instance_count": 1,
    "processes_per_instance": 0,
    "volume_gb": None,
    "keep_alive_s": 0,
    "vcpus": None,
    "gpus": 0,
}
# Of a slice: 900 s of the function's timeout without the time it keeps for the checkpoint.
SLICE_S = 840
# An execution has 25,000 events in its history, and a slice takes about ten of them.
_SLICES = 2000
# What a run with many trials may use of them, and what a trial, a job of it and a slice of it take.
_EVENTS, _TRIAL_EVENTS, _JOB_EVENTS, _SLICE_EVENTS = 23_000, 6, 12, 7
# The state machine's TimeoutSeconds, which ends a run without a record of why; a test compares.
LONGEST_RUN_S = 604_800


def refuse_backend_misfits(
    backend: Backend, table: Mapping[str, Any], *, trials: int, jobs: int, longest_s: int, place: str
) -> None:
    """Raise RecipeError for a wait shorter than the training, what [backend] says that no function can do, or more
    trainings than an execution can count or has the time for.

    `table` is the table as written, `trials` the number of trainings, `jobs` that of the attempts of each, `longest_s`
    what they take together if each takes all of its time.
    """
    if backend.max_wait_s is not None and backend.max_wait_s < backend.max_runtime_s:
        raise RecipeError(
            f"backend.max_wait_s is {backend.max_wait_s}, less than max_runtime_s",
            place=place,
            hint="the wait for spot capacity includes the training: make it at least max_runtime_s, or leave it out",
        )
    kinds = {backend.kind, backend.fallback} - {""}
    if "lambda" in kinds:
        _refuse_function_misfits(backend, table, kinds, trials=trials, place=place)
    slices = math.ceil(backend.max_runtime_s / SLICE_S) if "lambda" in kinds else 0
    if trials * (_TRIAL_EVENTS + _JOB_EVENTS * jobs + _SLICE_EVENTS * slices) > _EVENTS:
        raise RecipeError(
            f"{trials} trainings in up to {jobs} attempt(s) each are more than one run can keep account of",
            place=f"{place}: trials",
            hint="take fewer trials, or fewer ways in [backend]: spot = false, or no fallback",
        )
    if longest_s > LONGEST_RUN_S:
        raise RecipeError(
            f"{trials} trainings of {backend.max_runtime_s} s could take {longest_s / 86_400:.1f} days; a run has 7",
            place=f"{place}: trials",
            hint="raise trials.concurrency, lower backend.max_runtime_s, or take fewer trials",
        )


def _refuse_function_misfits(
    backend: Backend, table: Mapping[str, Any], kinds: Collection[str], *, trials: int, place: str
) -> None:
    if set(kinds) == {"lambda"}:
        _refuse_keys_of_machines(table, place)
    if (backend.memory_mb or 0) > MAX_MEMORY_MB and "batch" not in kinds:
        raise RecipeError(
            f"backend.memory_mb is {backend.memory_mb}; a function has {MAX_MEMORY_MB} at most",
            place=place,
            hint='make it smaller, or take kind = "sagemaker"',
        )
    if trials * math.ceil(backend.max_runtime_s / SLICE_S) > _SLICES:
        raise RecipeError(
            f"{trials} trial(s) of {backend.max_runtime_s} s are more than {_SLICES} calls of a function",
            place=place,
            hint='lower backend.max_runtime_s, take fewer trials, or take kind = "sagemaker"',
        )


def _refuse_keys_of_machines(table: Mapping[str, Any], place: str) -> None:
    foreign = [
        name
        for name, true_value in _TRUE_OF_A_FUNCTION.items()
        if name in table and (true_value is None or table[name] != true_value)
    ]
    if foreign:
        names = ", ".join(f"backend.{name}" for name in foreign)
        raise RecipeError(
            f'{names}: no meaning for kind = "lambda", a function has neither instances, GPUs nor spot prices',
            place=place,
            hint='leave them out, or take kind = "sagemaker" or "batch"',
        )

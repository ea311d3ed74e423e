"""The attempts of a run in this stack: its recipe's, refused before anything starts where a backend is missing."""

from __future__ import annotations

from lehr.attempts import attempts_of, backends_of
from lehr.contracts.recipe_tables import Backend
from lehr.contracts.workflow import Attempt
from lehr.errors import RecipeError


def plan_attempts(backend: Backend, *, has_batch: bool, function_memory_mb: int = 0) -> list[Attempt]:
    """The attempts of every trial; `function_memory_mb` is 0 in a stack without a training function.

    Raises RecipeError for a backend that the stack was deployed without, and for a function that is too small.
    """
    if "batch" in backends_of(backend) and not has_batch:
        raise RecipeError(
            "the recipe names AWS Batch, and this stack has none",
            place="[backend]",
            hint="deploy with BatchSubnetIds and BatchSecurityGroupIds, or take `batch` out of kind and fallback",
        )
    if "lambda" in backends_of(backend):
        _refuse_function(backend, function_memory_mb)
    return attempts_of(backend, function_memory_mb=function_memory_mb)


def _refuse_function(backend: Backend, memory_mb: int) -> None:
    if not memory_mb:
        raise RecipeError(
            "the recipe trains in a function, and this stack has none",
            place="[backend]",
            hint="build its image (lehr image build --cpu) and deploy with TrainerFunctionImageUri, or take `lambda` "
            "out of kind and fallback",
        )
    if (backend.memory_mb or 0) > memory_mb and "batch" not in backends_of(backend):
        raise RecipeError(
            f"memory_mb is {backend.memory_mb}, and this stack's training function has {memory_mb}",
            place="[backend]",
            hint=f"deploy with TrainerFunctionMemoryMb={backend.memory_mb}, or ask for less",
        )

"""The attempts of a run in this stack: those of its recipe, refused before anything starts where Batch is missing."""

from __future__ import annotations

from lehr.attempts import attempts_of, backends_of
from lehr.contracts.recipe import Backend
from lehr.contracts.workflow import Attempt
from lehr.errors import RecipeError


def plan_attempts(backend: Backend, *, has_batch: bool) -> list[Attempt]:
    """The attempts of every trial. Raises RecipeError for Batch in a stack that was deployed without it."""
    if "batch" in backends_of(backend) and not has_batch:
        raise RecipeError(
            "the recipe names AWS Batch, and this stack has none",
            place="[backend]",
            hint="deploy with BatchSubnetIds and BatchSecurityGroupIds, or take `batch` out of kind and fallback",
        )
    return attempts_of(backend)

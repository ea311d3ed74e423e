"""In which order capacity is asked for: spot first, then on demand, then the same of the other backend."""

from __future__ import annotations

import re

from lehr.contracts.recipe import Backend, BackendKind
from lehr.contracts.workflow import Attempt
from lehr.errors import RecipeError

# Families of EC2 with GPUs that PyTorch drives by CUDA: g4dn, g5, g6e, gr6, p3, p4d, p6-b200, …; g4ad is AMD's, and
# g5g has an Arm processor, for which there is no stock image.
_CUDA = re.compile(r"(ml\.)?(?!g4ad|g5g)(g|gr|p)\d[a-z0-9-]*\.")


def has_gpu(instance_type: str) -> bool:
    """Whether an instance type has a GPU that the trainer can use.

    >>> has_gpu("ml.g5.xlarge"), has_gpu("ml.m5.xlarge"), has_gpu("ml.g5g.xlarge")
    (True, False, False)
    """
    return bool(_CUDA.match(instance_type))


def plan_attempts(backend: Backend, *, has_batch: bool) -> list[Attempt]:
    """The attempts of every trial. Raises RecipeError for Batch in a stack that was deployed without it.

    Managed spot takes one instance type; on demand an ordered list of them.
    """
    kinds: list[BackendKind] = [backend.kind]
    if backend.fallback and backend.fallback != backend.kind:
        kinds.append(backend.fallback)
    if "batch" in kinds and not has_batch:
        raise RecipeError(
            "the recipe names AWS Batch, and this stack has none",
            place="[backend]",
            hint="deploy with BatchSubnetIds and BatchSecurityGroupIds, or take `batch` out of kind and fallback",
        )
    return [
        Attempt(
            backend=kind,
            spot=is_spot,
            instance_types=[backend.instance_type]
            + ([] if is_spot else list(backend.fallback_instance_types)),
            has_gpu=any(map(has_gpu, (backend.instance_type, *backend.fallback_instance_types))),
            max_wait_s=backend.max_wait_s or backend.max_runtime_s,
        )
        for kind in kinds
        for is_spot in ([True, False] if backend.spot else [False])
    ]

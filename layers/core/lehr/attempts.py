"""In which order capacity is asked for: spot first, then on demand, then the same of the other backend.

What differs from attempt to attempt is decided here, so that the state machine only copies it, and an estimate counts
what is really tried. Managed spot takes one instance type and no warm pool; no list mixes types that take a key for
their volume with types that refuse one. A function is one attempt: there is nothing to choose.
"""

from __future__ import annotations

from lehr.contracts.key_types import BackendKind
from lehr.contracts.recipe_tables import Backend
from lehr.contracts.workflow import Attempt, Resources
from lehr.function_types import DEFAULT_MEMORY_MB, function_type
from lehr.instances import by_storage, has_gpu, has_local_storage

# Of a Batch job whose recipe asks for none: what fits a g5.xlarge beside its system.
BATCH_MEMORY_MB = 14_000


def backends_of(backend: Backend) -> list[BackendKind]:
    """The backend of the recipe, and its fallback if that is another."""
    kinds: list[BackendKind] = [backend.kind]
    if backend.fallback and backend.fallback != backend.kind:
        kinds.append(backend.fallback)
    return kinds


def attempts_of(backend: Backend, *, function_memory_mb: int = 0) -> list[Attempt]:
    """The attempts of every trial, in their order. `function_memory_mb` is what the stack gives its training function.

    Where no stack is known (0) that is what the recipe asks for, or the template's default.
    """
    function = function_type(function_memory_mb or backend.memory_mb or DEFAULT_MEMORY_MB)
    return [
        Attempt(
            backend=kind,
            spot=is_spot,
            instance_types=types,
            has_gpu=any(map(has_gpu, types)),
            max_wait_s=backend.max_wait_s or backend.max_runtime_s,
            has_local_storage=has_local_storage(types[0]),
            keep_alive_s=backend.keep_alive_s if kind == "sagemaker" and not is_spot else 0,
        )
        for kind in backends_of(backend)
        for is_spot in ([True, False] if _has_spot(backend, kind) else [False])
        for types in ([[function]] if kind == "lambda" else _instance_types(backend, kind, is_spot=is_spot))
    ]


def resources_of(backend: Backend, instance_type: str, max_runtime_s: int) -> Resources:
    """What the jobs of a run are given."""
    return Resources(
        instance_type=instance_type,
        instance_count=backend.instance_count,
        volume_gb=backend.volume_gb,
        max_runtime_s=max_runtime_s,
        vcpus=backend.vcpus,
        memory_mb=backend.memory_mb or BATCH_MEMORY_MB,
        gpus=backend.gpus,
    )


def _has_spot(backend: Backend, kind: BackendKind) -> bool:
    """Batch runs jobs of several nodes on demand only: docs.aws.amazon.com/batch/latest/userguide/mnp-ce.html."""
    return backend.spot and (kind == "sagemaker" or (kind == "batch" and backend.instance_count == 1))


def _instance_types(backend: Backend, kind: BackendKind, *, is_spot: bool) -> list[list[str]]:
    """Ordered lists, one for each attempt."""
    types = [backend.instance_type] if is_spot else [backend.instance_type, *backend.fallback_instance_types]
    return by_storage(types) if kind == "sagemaker" else [types]

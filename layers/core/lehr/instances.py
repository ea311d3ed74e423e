"""What has to be known of an instance type before a training job asks for one: has it disks of its own, has it a GPU.

SageMaker puts the data of a job on those disks where there are any. They are encrypted by the hardware, and a request
that names a key for the volume all the same is refused:
docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html (VolumeKmsKeyId)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_FAMILY = re.compile(r"(?:ml\.)?(([a-z]+)(\d+)([a-z-]*)[a-z0-9-]*)\.[a-z0-9-]+")
# Those whose names do not say it; an EC2 family with a d behind its number has disks by AWS's own naming rule.
_WITH_DISKS = frozenset(
    {"g5", "g6", "g6e", "g7", "g7e", "p5", "p5e", "p5en", "p6-b200", "p6-b300", "p6e-gb200"}
    | {"trn1", "trn1n", "trn2"}
)


def has_local_storage(instance_type: str) -> bool:
    """Whether an instance type (`ml.g5.xlarge`, `g5.xlarge`) has disks of its own.

    Of a family that is not known here the answer is no, so that its volume gets the key: a request that AWS refuses is
    noticed, a volume without the key is not.
    """
    found = _FAMILY.fullmatch(instance_type)
    return found is not None and (found[1] in _WITH_DISKS or "d" in found[4])


def by_storage(instance_types: Sequence[str]) -> list[list[str]]:
    """Cut an ordered list where the kind of storage changes: a request names a key for all its types or for none."""
    groups: list[list[str]] = []
    for name in instance_types:
        if groups and has_local_storage(groups[-1][0]) == has_local_storage(name):
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


# Families of EC2 with GPUs that PyTorch drives by CUDA: g4dn, g5, g6e, gr6, p3, p4d, p6-b200, …; g4ad is AMD's, and
# g5g has an Arm processor, for which there is no stock image.
_CUDA = re.compile(r"(ml\.)?(?!g4ad|g5g)(g|gr|p)\d[a-z0-9-]*\.")


def has_gpu(instance_type: str) -> bool:
    """Whether an instance type has a GPU that the trainer can use.

    >>> has_gpu("ml.g5.xlarge"), has_gpu("ml.m5.xlarge"), has_gpu("ml.g5g.xlarge")
    (True, False, False)
    """
    return bool(_CUDA.match(instance_type))

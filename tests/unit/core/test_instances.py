"""Which instance types have disks of their own, held against EC2's description of all that SageMaker trains on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import botocore.session
import moto
import pytest

from lehr.instances import by_storage, has_gpu, has_local_storage


def recorded() -> dict[str, dict[str, Any]]:
    """EC2's description of every type, as moto has recorded it."""
    path = Path(moto.__file__).parent / "ec2/resources/instance_types.json.gz"
    types: dict[str, dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    return types


def described() -> dict[str, bool]:
    """Whether a type has instance storage."""
    return {name: bool(details.get("InstanceStorageSupported")) for name, details in recorded().items()}


def has_cuda(details: dict[str, Any]) -> bool:
    """Whether a type has a GPU of NVIDIA and a processor for which there is a stock image."""
    makers = {gpu.get("Manufacturer") for gpu in details.get("GpuInfo", {}).get("Gpus", [])}
    return "NVIDIA" in makers and "x86_64" in details["ProcessorInfo"]["SupportedArchitectures"]


def trainable() -> list[str]:
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("TrainingInstanceType")
    return list(shape.enum)


def test_the_rule_agrees_with_ec2_for_every_type_that_sagemaker_trains_on() -> None:
    known = described()
    types = {
        name: known[name.removeprefix("ml.")] for name in trainable() if name.removeprefix("ml.") in known
    }
    assert len(types) > 200
    assert {name for name, is_local in types.items() if has_local_storage(name) is not is_local} == set()
    assert set(types.values()) == {True, False}


def test_the_gpus_are_those_that_ec2_knows_of_every_type_that_sagemaker_trains_on() -> None:
    known = recorded()
    types = {
        name: known[name.removeprefix("ml.")] for name in trainable() if name.removeprefix("ml.") in known
    }
    wrong = {name for name, details in types.items() if has_gpu(name) is not has_cuda(details)}
    assert wrong == set()
    assert len([name for name in types if has_gpu(name)]) > 40
    assert has_gpu("g5.xlarge")


def test_types_that_ec2_s_record_lacks_are_few_and_decided_here() -> None:
    known = described()
    rest = {name for name in trainable() if name.removeprefix("ml.") not in known}
    assert {name.split(".")[1]: has_local_storage(name) for name in rest} == {
        "p2": False,
        "p3": False,
        "p6e-gb200": True,
    }


@pytest.mark.parametrize("name", ["ml.z9.huge", "", "ml.", "nonsense"])
def test_an_unknown_type_is_taken_to_have_a_volume_so_that_it_never_goes_without_the_key(name: str) -> None:
    assert not has_local_storage(name)


def test_a_list_is_cut_where_the_kind_of_storage_changes_and_keeps_its_order() -> None:
    names = ["ml.g5.xlarge", "ml.g6.xlarge", "ml.c5.xlarge", "ml.g4dn.xlarge"]
    assert by_storage(names) == [names[:2], names[2:3], names[3:]]
    assert by_storage([]) == []

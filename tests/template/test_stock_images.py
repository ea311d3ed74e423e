"""The stock containers of AWS in the template: those of AWS's own table, and of the Python that we pack for."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from lehr_local.template_file import parse_document
from tests.template.translated import ROOT, TEXT, deployed

SCRIPT = ROOT / "trainer_image/stock_images.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stock_images", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(**changes: Any) -> dict[str, Any]:
    version = {
        "py_versions": ["py313"],
        "repository": "pytorch-training",
        "registries": {"us-east-1": "763104351884", "af-south-1": "626614931356"},
    }
    return {"processors": ["cpu", "gpu"], "versions": {"2.10.0": version | changes}}


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "trainer_image" / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def test_a_block_is_written_from_the_table(script: ModuleType) -> None:
    block = script.mapping(table())
    images = parse_document(f"Mappings:\n{block}")["Mappings"]["StockImages"]
    assert images == {
        "af-south-1": {
            "Account": "626614931356",
            "Cpu": "626614931356.dkr.ecr.af-south-1.amazonaws.com/pytorch-training:2.10.0-cpu-py313",
            "Gpu": "626614931356.dkr.ecr.af-south-1.amazonaws.com/pytorch-training:2.10.0-gpu-py313",
        },
        "us-east-1": {
            "Account": "763104351884",
            "Cpu": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.10.0-cpu-py313",
            "Gpu": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.10.0-gpu-py313",
        },
    }


@pytest.mark.parametrize(
    ("region", "domain"),
    [
        ("eu-west-1", "amazonaws.com"),
        ("us-gov-west-1", "amazonaws.com"),
        ("cn-north-1", "amazonaws.com.cn"),
        ("eusc-de-east-1", "amazonaws.eu"),
        ("us-iso-east-1", "c2s.ic.gov"),
        ("eu-isoe-west-1", "cloud.adc-e.uk"),
    ],
)
def test_a_region_has_the_domain_of_its_partition(script: ModuleType, region: str, domain: str) -> None:
    assert script.domain(region) == domain


def test_a_region_of_no_partition_is_refused(script: ModuleType) -> None:
    with pytest.raises(ValueError, match="moon-north-1"):
        script.domain("moon-north-1")


@pytest.mark.parametrize("changes", [{"py_versions": ["py314"]}, {"repository": "pytorch"}])
def test_an_image_that_the_packages_do_not_fit_is_refused(
    script: ModuleType, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="not what the packages are built for"):
        script.mapping(table(**changes))


def test_a_template_that_differs_is_noticed(
    script: ModuleType, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "template.yaml"
    copy.write_text(TEXT)
    monkeypatch.setattr(script, "TEMPLATE", copy)
    monkeypatch.setattr(script, "read_table", table)
    assert script.main(["--check"]) == 1
    assert "stock images differ" in capsys.readouterr().out
    assert copy.read_text() == TEXT
    assert script.main([]) == 0
    assert script.main(["--check"]) == 0


@pytest.mark.slow
def test_the_template_has_what_sagemaker_core_says() -> None:
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_packages_are_for_the_python_of_the_image(script: ModuleType) -> None:
    makefile = (ROOT / "trainer_image/Makefile").read_text()
    assert "--python-version 3.13" in makefile
    variables = deployed()["Resources"]["PublishTrainerFunction"]["Properties"]["Environment"]["Variables"]
    registry = "763104351884.dkr.ecr.eu-central-1.amazonaws.com/pytorch-training"
    assert variables["GPU_IMAGE"] == f"{registry}:{script.PYTORCH}-gpu-py313"
    assert variables["CPU_IMAGE"] == f"{registry}:{script.PYTORCH}-cpu-py313"


def test_a_stock_container_gets_the_versions_of_our_own_image() -> None:
    own, stock = pins("requirements.txt"), pins("requirements-stock.txt")
    assert stock
    assert {name: own.get(name) for name in stock} == stock
    # torch, its needs and boto3 are the container's own.
    assert "torch" not in stock


def test_a_stock_image_is_written_in_the_mapping_only() -> None:
    _, block, rest = re.split(r"  # >>> written by .*\n|  # <<<\n", TEXT)
    assert block.count("/pytorch-training:") == TEXT.count("/pytorch-training:") > 0
    assert re.findall(r"!FindInMap \[StockImages, !Ref AWS::Region, ([CG]pu)\]", rest)

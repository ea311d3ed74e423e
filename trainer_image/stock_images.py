"""The stock PyTorch training containers of AWS as a mapping in template.yaml: their URIs in each region.

    python trainer_image/stock_images.py           # rewrite the mapping
    python trainer_image/stock_images.py --check   # exit 1 if it is not what sagemaker-core says

The table is AWS's own: `image_uri_config/pytorch.json` of the pinned sagemaker-core, out of which the SageMaker SDK
makes its image URIs. The wheel is downloaded by pip and read as a zip, since installing it would bring 289 MB. The
domain of each region's partition is botocore's.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from botocore.loaders import Loader

SAGEMAKER_CORE = "2.27.0"
PYTORCH = "2.10.0"  # the newest in the table for the Python of the packages in requirements-stock.txt
TABLE = "sagemaker/core/image_uri_config/pytorch.json"
TEMPLATE = Path(__file__).parents[1] / "template.yaml"
_BLOCK = re.compile(r"(  # >>> written by trainer_image/stock_images\.py\n).*?(  # <<<\n)", re.DOTALL)


def read_table() -> dict[str, Any]:
    """AWS's table, out of the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*command, f"sagemaker-core=={SAGEMAKER_CORE}"], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            table: dict[str, Any] = json.loads(archive.read(TABLE))["training"]
    return table


def mapping(table: dict[str, Any]) -> str:
    """The block of the template. Raises ValueError if the table has no image for our Python, or more than one."""
    version = table["versions"][PYTORCH]
    if version["py_versions"] != ["py313"] or version["repository"] != "pytorch-training":
        raise ValueError(f"PyTorch {PYTORCH} is not what the packages are built for: {version}")
    tags = {
        processor.title(): f"{PYTORCH}-{processor}-{version['py_versions'][0]}"
        for processor in table["processors"]
    }
    lines = [f"  # sagemaker-core {SAGEMAKER_CORE}, PyTorch {PYTORCH}", "  StockImages:"]
    for region, account in sorted(version["registries"].items()):
        repository = f"{account}.dkr.ecr.{region}.{domain(region)}/{version['repository']}"
        lines += [f"    {region}:", f'      Account: "{account}"']
        lines += [f'      {processor}: "{repository}:{tag}"' for processor, tag in tags.items()]
    return "".join(line + "\n" for line in lines)


def domain(region: str) -> str:
    """What `AWS::URLSuffix` is in a region. Raises ValueError for one of no partition that botocore knows."""
    for partition in Loader().load_data("partitions")["partitions"]:
        if region in partition["regions"] or re.match(partition["regionRegex"], region):
            return str(partition["outputs"]["dnsSuffix"])
    raise ValueError(f"botocore knows no partition of the region {region}")


def main(arguments: list[str]) -> int:
    text = TEMPLATE.read_text()
    block = mapping(read_table())
    current = _BLOCK.sub(lambda found: found[1] + block + found[2], text)
    if current == text:
        return 0
    if "--check" in arguments:
        print("template.yaml: the stock images differ: run python trainer_image/stock_images.py")
        return 1
    TEMPLATE.write_text(current)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

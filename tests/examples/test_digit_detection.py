"""The composed digits: the same for a seed, with boxes around their ink, and learnt to the figure of the gate."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.whole_run import WholeRun

EXAMPLE = Path(__file__).parents[2] / "examples/digit-detection"


@pytest.fixture(scope="module")
def compose() -> ModuleType:
    spec = spec_from_file_location("compose_boxes", EXAMPLE / "compose.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_composed_digits_are_the_same_for_a_seed_and_lie_in_their_boxes(
    compose: ModuleType, tmp_path: Path
) -> None:
    digits = np.zeros((3, 28, 28), np.uint8)
    digits[:, 6:22, 10:18] = 255
    labels = np.arange(3, dtype=np.uint8)
    (images, objects), (again, others) = (
        compose.compose(digits, labels, count=40, side=64, seed=5) for _ in range(2)
    )
    assert (images == again).all()
    assert objects == others
    assert {len(there) for there in objects} > {1, 2, 3}
    heights = set()
    for image, there in zip(images, objects, strict=True):
        outside = np.ones_like(image, dtype=bool)
        for _, (left, top, width, height) in there:
            inside = image[top : top + height, left : left + width]
            assert inside.shape == (height, width)
            assert inside.mean() > 180
            outside[top : top + height, left : left + width] = False
            heights.add(height)
        assert image[outside].mean() < 90
    assert len(heights) > 8
    document = compose.coco(objects, 64)
    assert len(document["annotations"]) == sum(map(len, objects))
    assert json.dumps(document)


@pytest.mark.slow
def test_the_example_trains_to_the_figure_of_its_gate(
    compose: ModuleType, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    for split, count in (("train", 3000), ("test", 500)):
        compose.write(tmp_path, split, count=count, side=64)
    files = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in sorted(tmp_path.rglob("*.*"))
    }
    judgement = WholeRun((EXAMPLE / "lehr.toml").read_text(), files, tmp_path / "run").decide()
    record_property("judgement", judgement.reason)
    assert judgement.verdict == "promote", judgement.reason

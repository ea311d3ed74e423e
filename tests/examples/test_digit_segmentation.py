"""The example whose data is composed: what it is made of, and in the full form that it trains to its figure."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.composed_digits import EXAMPLE, composer
from tests.whole_run import WholeRun


def test_the_same_seed_composes_the_same_pixels_and_another_one_others() -> None:
    digits = composer().digits_of("test")
    first, again, other = (composer().compose(*digits, count=6, side=64, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0][0], first[0][1])


def test_a_mask_has_the_ink_of_its_digits_the_last_one_on_top() -> None:
    digits = np.zeros((2, 28, 28), np.uint8)
    digits[0, 4:24, 4:24] = digits[1, 8:28, 8:28] = 255
    images, masks = composer().compose(digits, np.array([3, 7]), count=40, side=40, seed=5)
    assert set(np.unique(masks)) == {0, 4, 8}
    assert images[masks > 0].min() > 128 > images[masks == 0].max()
    # The last one is whole.
    assert all(max((mask == 4).sum(), (mask == 8).sum()) >= 400 for mask in masks)
    assert any(0 < (mask == 4).sum() < 400 for mask in masks)


def test_training_and_test_images_are_of_different_files(tmp_path: Path) -> None:
    for split in ("train", "test"):
        composer().write(tmp_path, split, count=3, side=64)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert len(names) == 12
    assert names[0] == "test/images/00000.png"
    images = [Image.open(io.BytesIO((tmp_path / name).read_bytes())) for name in names if "/images/" in name]
    assert len({image.tobytes() for image in images}) == 6
    assert composer().FILES == {"train": "train", "test": "t10k"}


@pytest.mark.slow
def test_it_trains_to_the_figure_of_its_gate(tmp_path: Path) -> None:
    for split, count in (("train", 2000), ("test", 500)):
        composer().write(tmp_path, split, count=count, side=64)
    files = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in sorted(tmp_path.rglob("*.png"))
    }
    judgement = WholeRun((EXAMPLE / "lehr.toml").read_text(), files, tmp_path / "run").decide()
    assert judgement.verdict == "promote", judgement.reason

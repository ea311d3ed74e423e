"""Images with masks from a dropped folder to a mask over HTTPS: the digits of the example, small, all of one label."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.composed_digits import ink_files
from tests.e2e.small_mnist import INSTANCE_TYPE
from tests.e2e.workplace import Finished, Workplace

TRAINING_JOBS = 1
SIDE, TRAIN, TEST = 32, 240, 100

RECIPE = f"""
[project]
name = "NAME"
task = "image_segmentation"

[data]
format = "masks"
files = ["train/images/*"]
test_files = ["test/images/*"]
masks = ["*/masks/*"]
image_size = [{SIDE}, {SIDE}]
channels = 1
labels = ["ground", "ink"]
validation_fraction = 0.1

[model]
name = "unet"
channels = [8, 16]

[augment]
shift = 0.1

[training]
learning_rate = 0.01
loss = "cross_entropy_dice"
epochs = 4
batch_size = 16

[backend]
instance_type = "{INSTANCE_TYPE}"
max_runtime_s = 900

[gate]
min_mean_iou = 0.6
"""


def write_data(folder: Path) -> None:
    """Fewer and smaller images than the example's, whose masks say ink or ground."""
    for name, raw in ink_files(TRAIN, TEST, SIDE).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)


@pytest.fixture(scope="module")
def trained(workplace: Workplace) -> tuple[str, Finished]:
    name = workplace.project("scenes")
    folder = workplace.folder / "scenes"
    folder.mkdir()
    (folder / "lehr.toml").write_text(RECIPE.replace("NAME", name))
    write_data(workplace.folder / "scenes-data")
    pushed = workplace.lehr("push", str(folder))
    assert pushed.code == 0, pushed.stderr
    return name, workplace.lehr("train", name, "--data", str(workplace.folder / "scenes-data"))


def test_masks_are_learnt_judged_and_promoted(workplace: Workplace, trained: tuple[str, Finished]) -> None:
    name, ended = trained
    assert ended.code == 0, ended.stderr
    assert ended.only("decided")["verdict"] == "promote"
    (run,) = workplace.runs(name)
    assert run["mean_iou"] >= 0.6
    epochs = [event for event in ended.events if event["event"] == "epoch"]
    assert epochs[-1]["validation_mean_iou"] > epochs[0]["validation_mean_iou"]


def test_an_image_is_answered_with_its_mask_over_https(
    workplace: Workplace, trained: tuple[str, Finished]
) -> None:
    name, _ = trained
    data, saved = workplace.folder / "scenes-data/test", workplace.folder / "mask.png"
    answer = workplace.lehr("predict", name, "--image", str(data / "images/3.png"), "--save", str(saved))
    assert answer.code == 0, answer.stderr
    (one,) = answer.only("prediction")["predictions"]
    assert saved.read_bytes() == base64.b64decode(one["mask"])
    found, truth = (np.asarray(Image.open(path)) for path in (saved, data / "masks/3.png"))
    assert (found == truth).mean() > 0.85
    assert one["shares"]["ink"] == pytest.approx((found == 1).mean())


def test_the_report_shows_the_images(workplace: Workplace, trained: tuple[str, Finished]) -> None:
    name, _ = trained
    (found,) = [(bucket, key) for bucket, key in workplace.keys(name) if key.endswith("report.html")]
    page = workplace.client("s3").get_object(Bucket=found[0], Key=found[1])["Body"].read().decode()
    assert page.count("data:image/png;base64,") == 18
    first = page.partition("data:image/png;base64,")[2].partition('"')[0]
    assert Image.open(io.BytesIO(base64.b64decode(first))).size == (SIDE, SIDE)

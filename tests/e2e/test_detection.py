"""Images with boxes from dropped files to boxes over HTTPS, in the pixels of an image of another size."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import tiny_boxes
from tests.e2e.small_mnist import INSTANCE_TYPE
from tests.e2e.workplace import Finished, Workplace

TRAINING_JOBS = 1
# Of the kinds of data in files, masks are in the quick form.
pytestmark = pytest.mark.slow
TEST = 50


@pytest.fixture(scope="module")
def trained(workplace: Workplace) -> tuple[str, Finished]:
    name = workplace.project("scenes")
    folder, data = workplace.folder / "boxes", workplace.folder / "boxes-data"
    folder.mkdir()
    recipe = tiny_boxes.RECIPE.replace('name = "scenes"', f'name = "{name}"')
    # The order of the images is drawn by the project's name, which is another one each time.
    recipe = recipe.replace("epochs = 6", "epochs = 15")
    backend = f'[backend]\ninstance_type = "{INSTANCE_TYPE}"\nmax_runtime_s = 900\n'
    (folder / "lehr.toml").write_text(recipe + backend)
    for path, raw in tiny_boxes.files(test=TEST).items():
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        (data / path).write_bytes(raw)
    pushed = workplace.lehr("push", str(folder))
    assert pushed.code == 0, pushed.stderr
    return name, workplace.lehr("train", name, "--data", str(data))


def test_boxes_are_learnt_judged_and_promoted(workplace: Workplace, trained: tuple[str, Finished]) -> None:
    name, ended = trained
    assert ended.code == 0, ended.stderr
    assert ended.only("decided")["verdict"] == "promote"
    (run,) = workplace.runs(name)
    assert run["map50"] >= 0.5
    assert run["accuracy"] is None
    epochs = [event for event in ended.events if event["event"] == "epoch"]
    assert epochs[-1]["validation_map50"] > epochs[0]["validation_map50"]


def test_an_image_is_answered_with_boxes_in_its_own_pixels(
    workplace: Workplace, trained: tuple[str, Finished]
) -> None:
    name, _ = trained
    data = workplace.folder / "boxes-data/test"
    by_image: dict[int, list[dict[str, Any]]] = {}
    for one in json.loads((data / "boxes.json").read_text())["annotations"]:
        by_image.setdefault(one["image_id"], []).append(one)
    alone = [image for image, there in by_image.items() if len(there) == 1][:4]
    right = 0
    for image in alone:
        larger = workplace.folder / f"larger-{image}.png"
        Image.open(data / f"{image}.png").resize((320, 160)).save(larger)
        answer = workplace.lehr("predict", name, "--image", str(larger))
        assert answer.code == 0, answer.stderr
        (one,) = answer.only("prediction")["predictions"]
        (true,) = by_image[image]
        left, top, width, height = np.array(true["bbox"]) * [10, 5, 10, 5]
        for found in one["detections"]:
            box = found["box"]
            across, down = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            if left < across < left + width and top < down < top + height:
                right += found["label"] == tiny_boxes.LABELS[true["category_id"]]
                break
    assert right >= 2


def test_the_report_shows_the_images(workplace: Workplace, trained: tuple[str, Finished]) -> None:
    name, _ = trained
    (found,) = [(bucket, key) for bucket, key in workplace.keys(name) if key.endswith("report.html")]
    page = workplace.client("s3").get_object(Bucket=found[0], Key=found[1])["Body"].read().decode()
    assert page.count('<div class="pane"><img src="data:image/png;base64,') == 6

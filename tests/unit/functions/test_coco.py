"""Images with boxes in COCO's JSON: from the plan to sealed shards, and what is refused on the way."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from functions.start_run import coco
from functions.start_run.examples import example_files
from lehr import layout
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.recipe import parse_recipe
from lehr.errors import DataError, MalformedDataError, RecipeError
from lehr.sweeps import objective_of, ranked
from tests.prepared_files import FilesWorld, Row
from tests.sweeps import completed_trials

RECIPE = """
[project]
name = "pets"
task = "object_detection"
[data]
format = "coco"
annotations = "train/boxes.json"
image_size = [8, 12]
labels = ["cat", "dog"]
ignore_labels = ["shadow"]
max_boxes = 3
rows_per_shard = 100
validation_fraction = 0.2
[model]
name = "detector"
"""
PREFIX = "incoming/pets/"
CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 9, "name": "shadow"}]
Change = Callable[[dict[str, Any]], None]


def png(width: int, height: int, seed: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def coco_json(images: int, first: int = 0) -> dict[str, Any]:
    """Images of 20 x 10 pixels: each with a dog, every second with a cat too, and shadows and a crowd."""
    found: dict[str, Any] = {
        "info": {"year": 2026},
        "images": [
            {
                "id": 100 + number,
                "file_name": f"{first + number}.png",
                "width": 20,
                "height": 10,
                "license": 1,
            }
            for number in range(images)
        ],
        "annotations": [],
        "categories": CATEGORIES,
    }
    for number in range(images):
        boxes: list[tuple[int, list[float], int]] = [(7, [2, 1, 10, 5], 0), (9, [0, 0, 4, 4], 0)]
        boxes += [(3, [15.5, 4, 5, 6.5], 0), (3, [0, 0, 9, 9], 1)] if number % 2 else []
        for category, bbox, crowd in boxes:
            found["annotations"].append(
                {
                    "id": len(found["annotations"]) + 1,
                    "image_id": 100 + number,
                    "category_id": category,
                    "bbox": bbox,
                    "iscrowd": crowd,
                    "area": 1.0,
                    "segmentation": [[0, 0, 1, 1]],
                }
            )
    return found


class World(FilesWorld):
    def __init__(self, images: int = 60, recipe: str = RECIPE, change: Change | None = None) -> None:
        document = coco_json(images)
        if change:
            change(document)
        objects = {f"{PREFIX}train/{number}.png": png(20, 10, number) for number in range(images)}
        objects[f"{PREFIX}train/boxes.json"] = json.dumps(document).encode()
        super().__init__(objects, recipe)

    def sealed(self) -> tuple[DatasetManifest, list[Row]]:
        """The sealed manifest, and split, pixels and boxes of every row."""
        self.prepare()
        sealed, manifest = self.seal()
        return manifest, list(self.sealed_rows(sealed.version, manifest))


def test_every_image_is_a_row_with_its_boxes_in_shares_of_its_sides() -> None:
    manifest, rows = World().sealed()
    assert len(rows) == 60
    dog = [1, 2 / 20, 1 / 10, 10 / 20, 5 / 10]
    # Half a pixel over the right edge and the lower one is cut off.
    cat = [0, 15.5 / 20, 4 / 10, 4.5 / 20, 6 / 10]
    none = [-1, 0, 0, 0, 0]
    for _, x, y in rows:
        assert x.shape == (8, 12, 3)
        assert x.dtype == np.uint8
        expected = [dog, cat if y[1, 0] >= 0 else none, none]
        np.testing.assert_allclose(y, np.array(expected, np.float32), rtol=1e-6)
    assert sum(y[1, 0] >= 0 for _, _, y in rows) == 30
    assert {split for split, _, _ in rows} == {"train", "validation", "test"}
    counted = [
        sum(manifest.class_counts(split)[label] for split in ("train", "validation", "test"))
        for label in (0, 1)
    ]
    assert counted == [30, 60]


def test_crowds_and_ignored_boxes_are_counted_in_the_answer() -> None:
    assert World().plan().summary == "60 files in 1 units, without 30 crowds and 60 ignored boxes"


def test_images_of_a_second_file_are_the_tests() -> None:
    recipe = RECIPE.replace("image_size", 'test_annotations = "more/boxes.json"\nimage_size', 1)
    world = World(recipe=recipe)
    world.data.put(f"{PREFIX}more/boxes.json", json.dumps(coco_json(20, first=500)).encode())
    for number in range(500, 520):
        world.data.put(f"{PREFIX}more/{number}.png", png(20, 10, number))
    manifest, _ = world.sealed()
    assert manifest.rows("test") == 20
    assert manifest.rows("train") + manifest.rows("validation") == 60
    assert [ref.key.removeprefix(PREFIX) for ref in manifest.raw] == ["train/boxes.json", "more/boxes.json"]


def test_a_training_image_that_is_in_the_test_gives_way_with_its_boxes() -> None:
    recipe = RECIPE.replace("image_size", 'test_annotations = "more/boxes.json"\nimage_size', 1)
    world = World(recipe=recipe)
    world.data.put(f"{PREFIX}more/boxes.json", json.dumps(coco_json(20, first=500)).encode())
    for number in range(20):
        world.data.put(f"{PREFIX}more/{500 + number}.png", world.data.objects[f"{PREFIX}train/{number}.png"])
    manifest, rows = world.sealed()
    assert manifest.rows("test") == 20
    learnt = [boxes for split, _, boxes in rows if split != "test"]
    assert len(learnt) == 40
    counted = [
        sum(manifest.class_counts(split)[label] for split in ("train", "validation")) for label in (0, 1)
    ]
    assert counted == [20, 40]
    assert sum(boxes[1, 0] >= 0 for boxes in learnt) == 20


def test_images_may_lie_in_a_folder_of_their_own() -> None:
    recipe = RECIPE.replace('"train/boxes.json"', '"boxes.json"\nimages = "train"')
    world = World(recipe=recipe)
    world.data.put(f"{PREFIX}boxes.json", world.data.objects.pop(f"{PREFIX}train/boxes.json"))
    world.data.put(f"{PREFIX}other/1.png", b"nobody asks for it")
    assert sum(unit.count for unit in world.plan().units) == 60
    names = example_files(world.recipe.data, ["boxes.json", "train/1.png", "other/1.png"])
    assert names == ["boxes.json", "train/1.png"]


def test_an_image_of_another_size_than_its_annotations_say_is_set_aside() -> None:
    world = World(recipe=RECIPE.replace("[model]", "max_refused_fraction = 0.1\n[model]"))
    world.data.put(f"{PREFIX}train/5.png", png(10, 20, 5))
    _, rows = world.sealed()
    assert len(rows) == 59
    (line,) = world.artifacts.objects[layout.quarantine_key("pets", "run-1", 0)].splitlines()
    assert "is 10x20 pixels large, its annotations say 20x10" in json.loads(line)["reason"]


def _first(document: dict[str, Any], key: str, **values: Any) -> None:
    document[key][0] |= values


REFUSED: list[tuple[Change, str]] = [
    (
        lambda one: _first(one, "annotations", bbox=[12, 1, 10, 5]),
        "annotation 1: .* over the edge of image 100, 20x10",
    ),
    (lambda one: _first(one, "annotations", bbox=[-1.5, 1, 10, 5]), "annotation 1: .* over the edge"),
    (
        lambda one: _first(one, "annotations", bbox=[2, 1, 0, 5]),
        r"annotation 1: bbox \[2.0, 1.0, 0.0, 5.0\] has no area",
    ),
    (lambda one: _first(one, "annotations", bbox=[1, 2, 3]), r"no COCO JSON .*\$.annotations\[0\].bbox"),
    (lambda one: _first(one, "annotations", image_id=999), "annotation 1 is of image 999"),
    (lambda one: _first(one, "annotations", category_id=8), "annotation 1 is of category 8"),
    (lambda one: _first(one, "annotations", id=2), "two annotations have the id 2"),
    (lambda one: _first(one, "images", id=101), "two images have the id 101"),
    (
        lambda one: _first(one, "images", file_name="1.png"),
        "image 101: train/1.png is in train/boxes.json as well",
    ),
    (lambda one: _first(one, "images", file_name="../x.png"), "image 100 has file_name '../x.png'"),
    (lambda one: _first(one, "images", file_name="gone.png"), "image 100: train/gone.png not found"),
    (lambda one: _first(one, "images", width=0), "image 100 is 0x10"),
    (lambda one: one.update(images=[], annotations=[]), "names no image"),
    (lambda one: one.pop("categories"), "no COCO JSON of objects"),
    (
        lambda one: one.update(categories=[*CATEGORIES, {"id": 4, "name": "bird"}]),
        "'bird' is none of data.labels",
    ),
    (lambda one: one.update(categories=CATEGORIES[1:], annotations=[]), "it has no category 'dog'"),
    (
        lambda one: one.update(categories=[*CATEGORIES, {"id": 4, "name": "cat"}]),
        "two categories have one name",
    ),
    (lambda one: one.update(annotations=one["annotations"][:1]), "no box of cat"),
    (
        lambda one: one["annotations"].extend(
            one["annotations"][0] | {"id": 1000 + more} for more in range(3)
        ),
        "image 100, 0.png, has 4 boxes, more than 3.* max_boxes = 4",
    ),
]


@pytest.mark.parametrize(
    ("change", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_is_wrong_with_annotations_stops_the_run_with_its_place(change: Change, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        World(change=change).plan()
    assert "incoming/pets" in str(refused.value)


def test_a_file_of_annotations_that_the_function_cannot_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coco, "MAX_ANNOTATION_BYTES", 1000)
    with pytest.raises(MalformedDataError, match=r"annotations of \d+ bytes, more than 1000 .*outlines"):
        World().plan()


def recipe_with(old: str, new: str) -> str:
    assert old in RECIPE
    return RECIPE.replace(old, new)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (recipe_with('annotations = "train/boxes.json"\n', ""), "data.annotations is missing"),
        (
            recipe_with('format = "coco"', 'format = "coco"\nfiles = ["*"]'),
            'data.files has no meaning for format = "coco"',
        ),
        (recipe_with("image_size = [8, 12]\n", ""), "data.image_size is missing"),
        (recipe_with('labels = ["cat", "dog"]\n', ""), "data.labels is missing"),
        (recipe_with('["shadow"]', '["cat"]'), "ignore_labels names 'cat'"),
        (recipe_with('name = "detector"', 'name = "cnn"'), "model.name = 'cnn' gives no boxes"),
        (RECIPE + "[augment]\nshift = 0.1", "augment.shift does not move boxes"),
        (RECIPE + '[hooks]\nloss = "a:b"', "hooks.loss and hooks.metrics"),
        (
            RECIPE + '[training]\nloss = "cross_entropy"',
            'loss = "cross_entropy" does not fit .*boxes, each with a label',
        ),
        (RECIPE + "[gate]\nmin_accuracy = 0.5", "min_accuracy belongs to classifications.*min_map50"),
        (RECIPE + "[gate]\nmin_gain = 2", "is more than an accuracy can gain"),
        (RECIPE + '[serving]\nprecision = "int8"', "int8"),
        (RECIPE + '[trials]\nobjective = "validation_accuracy"', "belongs to classifications"),
        (
            recipe_with("image_size", 'test_annotations = "t.json"\ntest_fraction = 0.1\nimage_size'),
            "test_fraction has no meaning beside test_annotations",
        ),
    ],
)
def test_a_key_that_detection_gives_no_meaning_is_refused(recipe: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(recipe)


def test_keys_of_detection_are_refused_elsewhere() -> None:
    table = (
        '[project]\nname = "a"\ntask = "image_classification"\n[data]\nformat = "folders"\nfiles = ["*"]\n'
    )
    table += 'image_size = [8, 8]\nlabels = ["a", "b"]\n'
    for more, message in (
        ("max_boxes = 3", "data.max_boxes has no meaning"),
        ('[model]\nname = "detector"', "finds boxes"),
        ("[gate]\nmin_map50 = 0.5", "belongs to object detection"),
        ('[training]\nloss = "detection"', "does not fit"),
        ('[training]\nmonitor = "validation_map50"\npatience = 1', "belongs to object detection"),
    ):
        with pytest.raises(RecipeError, match=message):
            parse_recipe(table + more)


def test_the_loss_of_a_recipe_that_says_none_is_detection() -> None:
    assert parse_recipe(RECIPE).training.loss == "detection"
    assert parse_recipe(RECIPE + "[training]\nepochs = 2").training.epochs == 2


def test_trials_are_compared_by_precision_and_more_of_it_is_better() -> None:
    assert objective_of(parse_recipe(RECIPE)) == "validation_map50"
    without = RECIPE.replace("validation_fraction = 0.2", "validation_fraction = 0.0")
    assert objective_of(parse_recipe(without)) == "validation_loss"
    assert objective_of(parse_recipe(RECIPE + '[trials]\nobjective = "validation_loss"')) == "validation_loss"
    records = completed_trials([0.2, 0.7, 0.5])
    assert [record.id for record in ranked(records, "validation_map50")] == ["1", "2", "0"]

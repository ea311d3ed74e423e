"""Images with masks: each pixel has a label, from the plan to sealed shards."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from functions.prepare_shard.files import prepare_files
from functions.start_run.examples import example_files
from functions.start_run.masks import pair_masks
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.recipe import parse_recipe
from lehr.errors import (
    ChangedDataError,
    DataError,
    InsufficientDataError,
    MalformedDataError,
    RecipeError,
)
from tests.prepared_files import FilesWorld

RECIPE = """
[project]
name = "scenes"
task = "image_segmentation"
[data]
format = "masks"
files = ["images/*"]
masks = ["masks/*"]
image_size = [4, 6]
labels = ["background", "ball", "box"]
ignore_value = 255
rows_per_shard = 100
validation_fraction = 0.2
[model]
name = "unet"
channels = [4, 8]
"""


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def some_pairs(rows: int = 60, seed: int = 0) -> dict[str, bytes]:
    random = np.random.default_rng(seed)
    found = {}
    for row in range(rows):
        mask = random.choice(np.array([0, 1, 2, 255], np.uint8), (4, 6))
        found[f"incoming/scenes/images/{row}.png"] = png(random.integers(0, 256, (4, 6, 3), dtype=np.uint8))
        found[f"incoming/scenes/masks/{row}.png"] = png(mask)
    return found


class World(FilesWorld):
    def __init__(self, objects: dict[str, bytes], recipe: str = RECIPE) -> None:
        super().__init__(objects, recipe)

    def sealed(self) -> tuple[DatasetManifest, list[tuple[bytes, np.ndarray]]]:
        """The manifest, and pixels and mask of every row."""
        self.prepare()
        sealed, manifest = self.seal()
        rows = list(self.sealed_rows(sealed.version, manifest))
        assert {row.y.dtype for row in rows} == {np.dtype(np.uint8)}
        return manifest, [(row.x.tobytes(), row.y) for row in rows]


def test_every_image_is_sealed_with_the_mask_of_its_name() -> None:
    objects = some_pairs()
    _, rows = World(objects).sealed()
    wanted = {
        np.asarray(
            Image.open(io.BytesIO(objects[f"incoming/scenes/images/{row}.png"]))
        ).tobytes(): np.asarray(Image.open(io.BytesIO(objects[f"incoming/scenes/masks/{row}.png"])))
        for row in range(60)
    }
    assert len(rows) == 60
    for pixels, mask in rows:
        np.testing.assert_array_equal(wanted[pixels], mask)


def test_counts_of_a_shard_are_of_the_pixels_that_count() -> None:
    manifest, rows = World(some_pairs()).sealed()
    pixels = np.concatenate([mask.reshape(-1) for _, mask in rows])
    total = np.sum(
        [manifest.class_counts(split) for split in ("train", "validation", "test")], axis=0
    ).tolist()
    assert total == [int((pixels == label).sum()) for label in range(3)]
    assert sum(total) == len(pixels) - int((pixels == 255).sum())


def test_another_ignore_value_is_sealed_as_the_one_that_counts_nowhere() -> None:
    objects = {
        key: png(
            np.where((pixels := np.asarray(Image.open(io.BytesIO(raw)))) == 255, 9, pixels).astype(np.uint8)
        )
        if "/masks/" in key
        else raw
        for key, raw in some_pairs().items()
    }
    _, rows = World(objects, RECIPE.replace("ignore_value = 255", "ignore_value = 9")).sealed()
    assert set(np.unique(np.stack([mask for _, mask in rows]))) == {0, 1, 2, 255}


def test_masks_belong_to_what_makes_a_run_new() -> None:
    recipe = parse_recipe(RECIPE)
    assert example_files(recipe.data, ["images/1.png", "masks/1.png", "notes.txt"]) == [
        "images/1.png",
        "masks/1.png",
    ]


def test_a_mask_that_was_overwritten_fails_the_unit() -> None:
    world = World(some_pairs())
    (unit,) = world.plan().units
    world.data.put("incoming/scenes/masks/0.png", b"other")
    with pytest.raises(ChangedDataError):
        prepare_files(unit, world.data, world.artifacts)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.full((4, 6), 3, np.uint8), "has the value 3 in row 0, column 0; data.labels names 3 labels"),
        (np.zeros((6, 4), np.uint8), "is 6x4, its image 4x6"),
        (np.zeros((4, 6, 3), np.uint8), "is an image of mode RGB"),
    ],
)
def test_a_mask_that_does_not_fit_is_set_aside_by_its_own_name(mask: np.ndarray, words: str) -> None:
    objects = some_pairs() | {"incoming/scenes/masks/7.png": png(mask)}
    world = World(objects, RECIPE.replace("rows_per", "max_refused_fraction = 0.1\nrows_per"))
    _, rows = world.sealed()
    assert len(rows) == 59
    (line,) = [raw for key, raw in world.artifacts.objects.items() if key.startswith("quarantine/")]
    refused = json.loads(line)
    assert refused["file"] == "incoming/scenes/masks/7.png"
    assert words in refused["reason"]
    with pytest.raises(MalformedDataError, match=r"1 of 60 files are refused: .*masks/7\.png"):
        World(objects).sealed()


def test_a_label_without_a_pixel_in_training_fails_the_gate_of_the_data() -> None:
    objects = {
        key: png(np.minimum(np.asarray(Image.open(io.BytesIO(raw))), 1)) if "/masks/" in key else raw
        for key, raw in some_pairs().items()
    }
    with pytest.raises(InsufficientDataError, match="no training example of box"):
        World(objects).sealed()


def test_of_masks_of_one_name_the_nearest_folder_has_it() -> None:
    images = ["train/images/1.jpg", "test/images/1.jpg", "b/images/2.png", "a/2.png"]
    masks = ["train/masks/1.png", "test/masks/1.png", "b/masks/2.png", "a/masks/2.png"]
    assert pair_masks(images, masks, "p") == dict(zip(images, masks, strict=True))


@pytest.mark.parametrize(
    ("images", "masks", "words"),
    [
        (["i/1.png", "i/2.png"], ["m/1.png"], "i/2.png has no mask"),
        (["i/1.png"], ["m/1.png", "m/2.png"], "no image is called as the mask m/2.png is"),
        (["i/1.png"], ["m/a/1.png", "m/b/1.png"], "i/1.png has two masks, m/a/1.png and m/b/1.png"),
        (["i/a/1.png", "i/b/1.png"], ["m/1.png"], "i/a/1.png and i/b/1.png would both have the mask m/1.png"),
        (["i/1.png", "i/1.jpg"], ["m/1.png"], "would both have the mask"),
        (["1.png"], ["1.png"], "named by data.masks and as an image"),
    ],
)
def test_what_cannot_be_paired_is_refused_before_anything_starts(
    images: list[str], masks: list[str], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        pair_masks(images, masks, "s3://data/incoming/scenes/")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('masks = ["masks/*"]', "", "data.masks is missing"),
        ("ignore_value = 255", "ignore_value = 1", "ignore_value = 1 is the pixel of 'ball'"),
        ("image_size = [4, 6]", "image_size = [4, 7]", r"\[4, 7\] cannot be halved 1 times.*multiples of 2"),
        ('name = "unet"\nchannels = [4, 8]', 'name = "cnn"', "gives one label for an image"),
        ("channels = [4, 8]", "", "model.channels is missing"),
        ('format = "masks"', 'format = "folders"', "does not fit project.task"),
        ("[model]", "[gate]\nmin_accuracy = 0.5\n[model]", "min_accuracy belongs to classifications"),
        ("[model]", '[hooks]\naugment = "a:b"\n[model]', "hooks.augment changes pixels and not their mask"),
        ("[model]", '[training]\nloss = "mse"\n[model]', 'loss = "mse" does not fit'),
        ("[model]", '[training]\nloss = "dice"\nclass_weights = "balanced"\n[model]', "class_weights has no"),
        ('"image_segmentation"', '"image_classification"', "does not fit project.task"),
    ],
)
def test_a_recipe_of_masks_says_what_does_not_fit(old: str, new: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        parse_recipe(RECIPE.replace(old, new))


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("[gate]\nmin_mean_iou = 0.5", "min_mean_iou belongs to segmentation"),
        ('[model]\nname = "unet"\nchannels = [4]', 'model.name = "unet" labels pixels'),
        ('[training]\nloss = "dice"', 'loss = "dice" does not fit'),
        ('[training]\npatience = 2\nmonitor = "validation_mean_iou"', "belongs to segmentation"),
    ],
)
def test_keys_of_segmentation_are_refused_elsewhere(extra: str, words: str) -> None:
    recipe = """
[project]
name = "shapes"
task = "image_classification"
[data]
format = "folders"
files = ["*"]
image_size = [6, 5]
labels = ["round", "square"]
"""
    with pytest.raises(RecipeError, match=words):
        parse_recipe(recipe + extra)

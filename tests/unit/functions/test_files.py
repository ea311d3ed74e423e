"""Files in folders: each is one example of its folder's label, from the plan to sealed shards."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from functions.prepare_shard.files import _decode, prepare_files
from lehr import layout
from lehr.contracts.data_checks import DataChecks
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.file_units import FileList
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.workflow import SealedDataset
from lehr.errors import (
    ChangedDataError,
    ContractError,
    DataError,
    InsufficientDataError,
    MalformedDataError,
    RecipeError,
)
from tests.prepared_files import FilesWorld

RECIPE = """
[project]
name = "shapes"
task = "image_classification"
[data]
format = "folders"
files = ["*.png"]
image_size = [6, 5]
labels = ["round", "square"]
rows_per_shard = 100
validation_fraction = 0.2
"""


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def some_images(rows: int = 240, seed: int = 0) -> dict[str, bytes]:
    random = np.random.default_rng(seed)
    return {
        f"incoming/shapes/{('round', 'square')[row % 2]}/{row}.png": png(
            random.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        )
        for row in range(rows)
    }


class World(FilesWorld):
    def __init__(self, objects: dict[str, bytes], recipe: str = RECIPE) -> None:
        super().__init__(objects, recipe)

    def sealed(self) -> tuple[SealedDataset, DatasetManifest]:
        self.prepare()
        return self.seal()

    def rows(self, version: str, manifest: DatasetManifest) -> list[tuple[str, bytes, int]]:
        """Split, pixels and label of every row that was sealed."""
        return [(row.split, row.x.tobytes(), int(row.y)) for row in self.sealed_rows(version, manifest)]


def test_every_file_is_one_row_of_its_folders_label() -> None:
    world = World(some_images())
    sealed, manifest = world.sealed()
    rows = world.rows(sealed.version, manifest)
    wanted = {
        (np.asarray(Image.open(io.BytesIO(raw))).tobytes(), int("/square/" in key))
        for key, raw in world.data.objects.items()
    }
    assert {row[1:] for row in rows} == wanted
    assert len(rows) == 240
    assert manifest.input_shape == [6, 5, 3]
    assert all(sealed.rows[split] > 10 for split in ("train", "validation", "test"))


def test_units_mix_the_labels_and_are_never_small() -> None:
    plan = World(some_images(900)).plan()
    assert sum(unit.count for unit in plan.units) == 900
    assert all(20 <= unit.count <= 100 for unit in plan.units)
    for files in plan.lists.values():
        assert 0.1 < sum(example.label == 1 for example in files.examples) / len(files.examples) < 0.9


def test_an_image_stays_in_its_split_when_others_are_added() -> None:
    few, many = (
        World(some_images(240)),
        World(some_images(240) | {f"{k}x.png": v for k, v in some_images(100, 1).items()}),
    )
    before, after = ({row[1]: row[0] for row in world.rows(*_sealed(world))} for world in (few, many))
    assert len(after) == 340
    assert {pixels: after[pixels] for pixels in before} == before


def _sealed(world: World) -> tuple[str, DatasetManifest]:
    sealed, manifest = world.sealed()
    return sealed.version, manifest


def test_files_of_the_test_are_tested_on_and_no_others() -> None:
    objects = some_images() | {
        key.replace("incoming/shapes/", "incoming/shapes/held/"): raw
        for key, raw in some_images(20, 7).items()
    }
    recipe = RECIPE.replace('files = ["*.png"]', 'files = ["round/*", "square/*"]\ntest_files = ["held/*"]')
    sealed, _ = World(objects, recipe).sealed()
    assert sealed.rows["test"] == 20


def test_a_file_of_the_test_that_is_learnt_from_too_is_set_aside_by_its_name() -> None:
    objects = some_images()
    objects["incoming/shapes/held/round/copy.png"] = objects["incoming/shapes/round/8.png"]
    objects |= {
        key.replace("incoming/shapes/", "incoming/shapes/held/"): raw
        for key, raw in some_images(20, 7).items()
    }
    recipe = RECIPE.replace('files = ["*.png"]', 'files = ["round/*", "square/*"]\ntest_files = ["held/*"]')
    world = World(objects, recipe)
    sealed, _ = world.sealed()
    assert sealed.rows["train"] + sealed.rows["validation"] == 239
    assert sealed.rows["test"] == 21
    line = json.loads(world.artifacts.objects[layout.set_aside_key("shapes", "run-1")])
    reason = "the same as held/round/copy.png, which is in the test split"
    assert line == {"file": "round/8.png", "line": 0, "reason": reason}
    checks = DataChecks.from_json(world.artifacts.objects[layout.data_checks_key("shapes", "run-1")])
    verdicts = {one.check: one.verdict for one in checks.results}
    assert (verdicts["overlap"], verdicts["size"]) == ("quarantined", "passed")


def test_the_lists_of_raw_files_belong_to_the_version() -> None:
    world = World(some_images())
    _, manifest = world.sealed()
    assert isinstance(manifest.raw_lists, list)
    keys = set()
    for entry in manifest.raw_lists:
        raw = world.artifacts.objects[layout.datasets_prefix("shapes") + entry.key]
        keys |= {example.file.key for example in FileList.from_json(raw).examples}
    assert keys == set(world.data.objects)


def test_what_is_no_image_is_set_aside_with_its_place() -> None:
    objects = some_images() | {"incoming/shapes/round/broken.png": b"\x89PNG\r\n\x1a\n and no more"}
    world = World(objects, RECIPE + "max_refused_fraction = 0.05")
    sealed, _ = world.sealed()
    kept = [raw for key, raw in world.artifacts.objects.items() if key.startswith("quarantine/")]
    assert [json.loads(line) for line in kept] == [
        {
            "file": "incoming/shapes/round/broken.png",
            "line": 0,
            "reason": "is a damaged or truncated PNG file",
        }
    ]
    assert sum(sealed.rows.values()) == 240


def test_too_many_that_are_set_aside_fail_with_the_first_reasons() -> None:
    objects = some_images(40) | {f"incoming/shapes/round/b{row}.png": b"no image" for row in range(2)}
    world = World(objects)
    (unit,) = world.plan().units
    with pytest.raises(MalformedDataError, match=r"2 of 42 files are refused: .*neither a PNG nor a JPEG"):
        prepare_files(unit, world.data, world.artifacts)


def test_a_file_that_was_overwritten_fails_the_unit() -> None:
    world = World(some_images(40))
    (unit,) = world.plan().units
    world.data.put("incoming/shapes/round/0.png", b"other")
    with pytest.raises(ChangedDataError):
        prepare_files(unit, world.data, world.artifacts)


@pytest.mark.parametrize(
    ("objects", "error", "words"),
    [
        ({}, DataError, r"\*\.png not found"),
        ({"incoming/shapes/oval/1.png": b""}, DataError, "its folder 'oval' is none of data.labels"),
        ({"incoming/shapes/1.png": b""}, DataError, "lies in no folder of a label"),
        ({"incoming/shapes/round/1.png": b""}, InsufficientDataError, "no file of square"),
    ],
)
def test_data_that_cannot_be_labelled_is_refused_before_anything_starts(
    objects: dict[str, bytes], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        World(objects).plan()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('files = ["*.png"]', "", "data.files is missing"),
        ("image_size = [6, 5]", "", "data.image_size is missing"),
        ('format = "folders"', 'format = "folders"\ntarget = "x"', "data.target has no meaning"),
        ("rows_per_shard", 'test_files = ["a"]\ntest_fraction = 0.1\nrows_per_shard', "leave one out"),
    ],
)
def test_a_recipe_of_folders_says_what_it_lacks(old: str, new: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        parse_recipe(RECIPE.replace(old, new))


def test_a_unit_whose_list_is_another_is_refused() -> None:
    world = World(some_images(40))
    (unit,) = world.plan().units
    changed: Any = msgspec.structs.replace(unit, count=39)
    with pytest.raises(ContractError, match="its list 40"):
        prepare_files(changed, world.data, world.artifacts)


def packed(objects: dict[str, bytes], prefix: str = "incoming/shapes/") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for key, raw in objects.items():
            archive.writestr(key.removeprefix(prefix), raw)
    return stream.getvalue()


def tarred(objects: dict[str, bytes], prefix: str = "incoming/shapes/") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for key, raw in objects.items():
            entry = tarfile.TarInfo("all/" + key.removeprefix(prefix))
            entry.size = len(raw)
            archive.addfile(entry, io.BytesIO(raw))
    return stream.getvalue()


ARCHIVES = RECIPE.replace('["*.png"]', '["*.zip", "*.tar.gz", "*.png"]')


def test_files_in_archives_are_the_rows_that_they_would_be_alone() -> None:
    objects = list(some_images(240).items())
    world = World(dict(objects), RECIPE)
    mixed = {
        "incoming/shapes/one.zip": packed(dict(objects[:100])),
        "incoming/shapes/two.tar.gz": tarred(dict(objects[100:200])),
        **dict(objects[200:]),
    }
    in_archives = World(mixed, ARCHIVES)
    assert sorted(in_archives.rows(*_sealed(in_archives))) == sorted(world.rows(*_sealed(world)))


def test_what_is_wrong_in_an_archive_is_set_aside_with_its_place() -> None:
    objects = some_images(100) | {
        "incoming/shapes/round/b.png": b"no image",
        "incoming/shapes/.DS_Store": b"passed over",
        "incoming/shapes/__MACOSX/round/._1.png": b"passed over",
    }
    recipe = RECIPE.replace('["*.png"]', '["*.zip"]') + "max_refused_fraction = 0.05"
    world = World({"incoming/shapes/a.zip": packed(objects)}, recipe)
    sealed, _ = world.sealed()
    (kept,) = [raw for key, raw in world.artifacts.objects.items() if key.startswith("quarantine/")]
    assert [json.loads(line) for line in kept.splitlines()] == [
        {
            "file": "incoming/shapes/a.zip!round/b.png",
            "line": 0,
            "reason": "is neither a PNG nor a JPEG file",
        },
    ]
    assert sum(sealed.rows.values()) == 100


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ({"round/1.png": b"", "oval/7.png": b""}, r"a\.zip!oval/7\.png: its folder 'oval' is none"),
        ({"1.png": b""}, r"a\.zip!1\.png: lies in no folder of a label"),
        ({"round/1.png": b""}, "no file of square"),
        ({}, r"a\.zip: holds no files"),
        (None, r"a\.zip: is neither a zip nor a tar"),
        ({"round/../../x": b""}, r"a\.zip!round/\.\./\.\./x: has a name that leads out"),
        ({"round/x.zip": b""}, r"a\.zip!round/x\.zip: is an archive within an archive"),
    ],
)
def test_an_archive_with_what_cannot_be_learnt_is_refused_before_anything_starts(
    objects: dict[str, bytes] | None, words: str
) -> None:
    raw = b"nothing" if objects is None else packed(objects)
    with pytest.raises(DataError, match=words):
        World({"incoming/shapes/a.zip": raw}, ARCHIVES.replace('"*.tar.gz", "*.png"', "")).plan()


def test_units_have_the_files_of_one_archive_each() -> None:
    objects = list(some_images(240).items())
    mixed = {"incoming/shapes/one.zip": packed(dict(objects[:150])), **dict(objects[150:])}
    plan = World(mixed, ARCHIVES.replace('"*.tar.gz", ', "")).plan()
    assert len(plan.units) > 2
    for files in plan.lists.values():
        assert len({"!" in example.file.key for example in files.examples}) == 1


def test_an_archive_in_the_folder_of_a_label_has_files_of_that_label() -> None:
    """As if it had been unpacked where it lies."""
    objects = {
        f"incoming/shapes/{label}/a.zip": packed(
            {f"{row}.png": png(np.full((6, 5), row, np.uint8)) for row in range(9)}
        )
        for label in ("round", "square")
    }
    plan = World(objects, RECIPE.replace("*.png", "*.zip")).plan()
    labels = {
        one.file.key.split("/")[2]: one.label for files in plan.lists.values() for one in files.examples
    }
    assert labels == {"round": 0, "square": 1}


def test_an_archive_that_was_overwritten_fails_the_unit() -> None:
    world = World({"incoming/shapes/a.zip": packed(some_images(40))}, RECIPE.replace("*.png", "*.zip"))
    (unit,) = world.plan().units
    world.data.put("incoming/shapes/a.zip", packed(some_images(41)))
    with pytest.raises(ChangedDataError):
        prepare_files(unit, world.data, world.artifacts)


def test_what_a_console_makes_of_a_folder_is_no_file() -> None:
    """An empty object whose key ends with a slash."""
    objects = some_images(60) | {
        "incoming/shapes/round/": b"",
        "incoming/shapes/": b"",
        "incoming/shapes/x/": b"",
    }
    world = World(objects, RECIPE.replace('"*.png"', '"*"'))
    assert sum(unit.count for unit in world.plan().units) == 60


def test_what_is_set_aside_keeps_no_file_in_memory() -> None:
    """A traceback has frames, and these have the file and its pixels: for every file that is refused."""
    world = World(some_images(60) | {"incoming/shapes/round/b.png": b"no image"})
    (unit,) = world.plan().units
    (files,) = world.plan().lists.values()
    (broken,) = [one for one in files.examples if one.file.key.endswith("b.png")]
    found = _decode(unit, broken, lambda file: world.data.get(file.key))
    assert isinstance(found, MalformedDataError)
    assert (found.__traceback__, found.__context__, found.__cause__) == (None, None, None)

"""What is overwritten or deleted during a run is the next run's: units read what was there at planning."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest

from functions.prepare_shard.units import Unit, prepare_unit
from functions.seal_dataset.seal import seal
from functions.start_run.files import plan_files
from functions.start_run.plan import list_raw, plan_units
from functions.start_run.tables import plan_table
from lehr import layout
from lehr.contracts.data_rules import FILES, is_table
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.file_units import PrepareFilesUnit
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.workflow import SealRequest
from lehr.errors import ChangedDataError, ContractError, DataError, MissingDataError
from tests import sealed
from tests.fakes import InMemoryObjectStore, InMemoryRegistry
from tests.tables import RUN
from tests.unit.functions.test_files import RECIPE as FOLDERS
from tests.unit.functions.test_files import packed, some_images
from tests.unit.functions.test_masks import RECIPE as MASKS
from tests.unit.functions.test_masks import some_pairs
from tests.unit.functions.test_parquet import RECIPE as PARQUET
from tests.unit.functions.test_parquet import written

IMAGES = {key.removeprefix("incoming/shapes/"): raw for key, raw in some_images(60).items()}


def _coco() -> dict[str, bytes]:
    names = [name.rpartition("/")[2] for name in IMAGES]
    document = {
        "images": [
            {"id": number, "file_name": name, "width": 5, "height": 6} for number, name in enumerate(names)
        ],
        "annotations": [
            {"id": number, "image_id": number, "category_id": number % 2, "bbox": [0, 0, 2 + number % 3, 3]}
            for number in range(len(names))
        ],
        "categories": [{"id": 0, "name": "round"}, {"id": 1, "name": "square"}],
    }
    return {"all.json": json.dumps(document).encode()} | dict(zip(names, IMAGES.values(), strict=True))


def _listed() -> dict[str, bytes]:
    lines = "".join(f"{name},{name.partition('/')[0]}\n" for name in IMAGES)
    return {"labels.csv": b"file,label\n" + lines.encode()} | IMAGES


# Of every format a recipe and its files.
WORLDS: dict[str, tuple[str, dict[str, bytes]]] = {
    "idx": (sealed.IMAGES, {name: sealed.idx(array) for name, array in sealed.images(120).items()}),
    "folders": (FOLDERS, IMAGES),
    "archives": (
        FOLDERS.replace('["*.png"]', '["*.zip"]'),
        {"all.zip": packed(IMAGES, prefix="")},
    ),
    "manifest": (
        FOLDERS.replace(
            'format = "folders"\nfiles = ["*.png"]', 'format = "manifest"\nmanifest = "labels.csv"'
        ),
        _listed(),
    ),
    "masks": (
        MASKS,
        {key.removeprefix("incoming/scenes/"): raw for key, raw in some_pairs().items()},
    ),
    "coco": (
        FOLDERS.replace("image_classification", "object_detection").replace(
            'format = "folders"\nfiles = ["*.png"]', 'format = "coco"\nannotations = "all.json"'
        )
        + '[model]\nname = "detector"',
        _coco(),
    ),
    "csv": (
        sealed.TABLE,
        {
            "part-1.csv": "".join(sealed.table(120, 1)).encode(),
            "test.csv": "".join(sealed.table(60, 2)).encode(),
        },
    ),
    "parquet": (PARQUET, {"part-1.parquet": written(200, row_group_size=60)}),
}


class World:
    def __init__(self, kind: str, *, is_versioned: bool = True) -> None:
        text, files = WORLDS[kind]
        self.recipe = parse_recipe(text)
        self.project = self.recipe.project.name
        prefix = layout.incoming_prefix(self.project)
        objects = {prefix + name: raw for name, raw in files.items()}
        self.data = InMemoryObjectStore("data", objects, is_versioned=is_versioned)
        self.artifacts = InMemoryObjectStore("artifacts")

    def plan(self) -> list[Unit]:
        raw = list_raw(self.data, self.project)
        units: list[Unit]
        if is_table(self.recipe.project.task):
            units = [*plan_table(self.recipe, raw, self.data, RUN)[0]]
        elif self.recipe.data.format in FILES:
            planned = plan_files(self.recipe, raw, self.data, RUN)
            for key, document in (*planned.lists.items(), *planned.versions.items()):
                self.artifacts.put(key, document.to_json())
            units = [*planned.units]
        else:
            units = [*plan_units(self.recipe, raw, self.data, RUN)]
        self.artifacts.put(layout.plan_key(self.project, RUN), msgspec.json.encode(units))
        self.artifacts.put(layout.recipe_key(self.project, RUN), self.recipe.to_json())
        return units

    def prepare(self, meanwhile: Callable[[InMemoryObjectStore], None]) -> DatasetManifest:
        """The dataset of a run, in which `meanwhile` happens between the plan and the units."""
        units = self.plan()
        meanwhile(self.data)
        for unit in units:
            prepare_unit(unit, self.data, self.artifacts)
        version = seal(SealRequest(project=self.project, run=RUN), self.artifacts, InMemoryRegistry()).version
        raw = self.artifacts.objects[layout.dataset_manifest_key(self.project, version)]
        return DatasetManifest.from_json(raw)


def nothing(data: InMemoryObjectStore) -> None:
    pass


def overwrite(data: InMemoryObjectStore) -> None:
    for key in list(data.objects):
        data.put(key, b"something else")


def delete(data: InMemoryObjectStore) -> None:
    for key in list(data.objects):
        data.delete(key)


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize("meanwhile", [overwrite, delete])
def test_what_happens_to_the_raw_objects_meanwhile_changes_nothing(
    kind: str, meanwhile: Callable[[InMemoryObjectStore], None]
) -> None:
    assert World(kind).prepare(meanwhile) == World(kind).prepare(nothing)


@pytest.mark.parametrize("kind", WORLDS)
def test_the_same_content_is_the_same_version_whether_the_bucket_keeps_versions_or_not(kind: str) -> None:
    with_versions, without = World(kind).prepare(nothing), World(kind, is_versioned=False).prepare(nothing)
    assert with_versions.sha256() == without.sha256()


@pytest.mark.parametrize("kind", WORLDS)
def test_a_bucket_without_versions_fails_the_run_with_the_object_that_is_another(kind: str) -> None:
    with pytest.raises(ChangedDataError, match="was overwritten while a run was reading it") as changed:
        World(kind, is_versioned=False).prepare(overwrite)
    assert changed.value.place.startswith("s3://data/incoming/")
    with pytest.raises(MissingDataError, match="was deleted after _READY"):
        World(kind, is_versioned=False).prepare(delete)


@pytest.mark.parametrize("kind", WORLDS)
def test_what_is_overwritten_while_a_run_is_planned_is_the_next_runs_too(kind: str) -> None:
    """Headers, footers, lists and annotations are read of what was listed."""
    world, calm = World(kind), World(kind)
    listing = list_raw(world.data, world.project)
    overwrite(world.data)
    world.data.list_versions = lambda prefix: iter(listing.values())  # type: ignore[method-assign]
    assert world.plan() == calm.plan()


def test_a_plan_without_its_versions_is_refused() -> None:
    world = World("folders")
    (unit,) = world.plan()
    assert isinstance(unit, PrepareFilesUnit)
    del world.artifacts.objects[unit.versions_key]
    with pytest.raises(ContractError, match=r"versions of the unit's files .* are not there"):
        prepare_unit(unit, world.data, world.artifacts)


def test_a_version_that_is_gone_for_good_fails_the_unit_with_its_name() -> None:
    """As where a lifecycle rule of one's own expires versions within the run."""
    world = World("folders")
    (unit,) = world.plan()
    delete(world.data)
    world.data.earlier.clear()
    with pytest.raises(DataError, match=r"/\d+\.png: is not there"):
        prepare_unit(unit, world.data, world.artifacts)

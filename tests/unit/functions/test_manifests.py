"""A manifest names files with labels and splits; what it says wrongly is named with its line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lehr.contracts.recipe import parse_recipe
from lehr.errors import DataError, RecipeError
from tests.prepared_files import FilesWorld
from tests.sounds import sweep, wav

RECIPE = """
[project]
name = "sweeps"
task = "audio_classification"
[data]
format = "manifest"
manifest = "lists/labels.csv"
sample_rate = 8000
seconds = 0.25
labels = ["up", "down"]
rows_per_shard = 100
validation_fraction = 0.2
[model]
name = "audio_cnn"
"""
PREFIX = "incoming/sweeps/"


def planned(
    objects: dict[str, bytes], recipe: str = RECIPE
) -> tuple[list[tuple[str, int | None, bool]], list[float]]:
    """(name, label, is_test) of every example in the order of names, and the units' test fractions."""
    plan = FilesWorld({PREFIX + name: raw for name, raw in objects.items()}, recipe).plan()
    examples = [example for files in plan.lists.values() for example in files.examples]
    return (
        sorted((one.file.key.removeprefix(PREFIX), one.label, one.is_test) for one in examples),
        [unit.test_fraction for unit in plan.units],
    )


FILES = {"a.wav": b"1", "lists/b.wav": b"2", "lists/more/c.wav": b"3"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lists/labels.csv", "file,label\n../a.wav,up\nb.wav,down\nmore/c.wav,up\n"),
        ("lists/labels.csv", "\ufefflabel;file\r\nup;../a.wav\r\ndown;b.wav\r\n\r\nup;./more/c.wav"),
        (
            "lists/labels.jsonl",
            '{"file":"../a.wav","label":"up"}\n{"file":"b.wav","label":"down"}\n\n{"file":"more/c.wav","label":"up"}',
        ),
    ],
)
def test_each_listed_file_has_the_label_of_its_line(name: str, text: str) -> None:
    recipe = RECIPE.replace("lists/labels.csv", name)
    examples, fractions = planned({**FILES, "unlisted.wav": b"4", name: text.encode()}, recipe)
    assert examples == [("a.wav", 0, False), ("lists/b.wav", 1, False), ("lists/more/c.wav", 0, False)]
    assert fractions == [0.2]


def test_a_column_of_splits_says_what_is_tested_on() -> None:
    text = b"file,label,split\n../a.wav,up,train\nb.wav,down,train\nmore/c.wav,up,test\n"
    examples, fractions = planned({**FILES, "lists/labels.csv": text})
    assert [one[2] for one in examples] == [False, False, True]
    assert fractions == [0.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\n../a.wav,up\nd.wav,up", "labels.csv line 3: names 'd.wav', which is not there"),
        ("file,label\n../../../etc/passwd,up", "line 2: names '../../../etc/passwd', which is not there"),
        ("file,label\n../a.wav,left", "line 2: has label 'left', which is none of data.labels"),
        ("file,label\nb.wav,up\n./b.wav,up", r"line 3: names './b.wav', as line 2 does"),
        ("file,label,split\nb.wav,up,held", "line 2: has split 'held'"),
        ("file,label,split\nb.wav,up,train", "has no line of split test"),
        ("path,label\nb.wav,up", "has the columns path, label"),
        ("file,label\nb.wav,up,1", "line 2: has 3 cells, the header 2"),
        ("file,label\n", "names no files"),
        ("", "has the columns"),
        ("file,label\n../a.wav,up", "no file of down"),
    ],
)
def test_what_a_manifest_says_wrongly_stops_the_run_with_its_line(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        planned({**FILES, "lists/labels.csv": text.encode()})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"file":"b.wav"}', "line 2: cannot be read: .*label"),
        ('{"file":"b.wav","label":"up","weight":1}', "line 2: cannot be read: .*weight"),
        ("{", "line 2: cannot be read"),
        ('{"file":"b.wav","label":"up","split":"test"}', "line 2: has a split where others have none"),
    ],
)
def test_a_line_of_json_that_does_not_fit_is_named(line: str, words: str) -> None:
    recipe = RECIPE.replace("labels.csv", "labels.jsonl")
    first = '{"file":"../a.wav","label":"up"}\n'
    with pytest.raises(DataError, match=words):
        planned({**FILES, "lists/labels.jsonl": (first + line).encode()}, recipe)


def test_a_manifest_that_is_not_there_is_said() -> None:
    with pytest.raises(DataError, match=r"lists/labels.csv not found"):
        planned(FILES)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('manifest = "lists/labels.csv"', "", "data.manifest is missing"),
        ("sample_rate = 8000", "", "data.sample_rate is missing"),
        ("seconds = 0.25", "", "data.seconds is missing"),
        ("seconds = 0.25", "seconds = 0.25\nimage_size = [4, 4]", "data.image_size belongs to images"),
        ("seconds = 0.25", 'seconds = 0.25\nfiles = ["*"]', "data.files has no meaning"),
        ('name = "audio_cnn"', 'name = "cnn"', "'cnn' takes no sound"),
        ("audio_classification", "tabular_classification", 'data.format = "manifest" does not fit'),
        ('name = "audio_cnn"', 'name = "audio_cnn"\ndepth = 8', "model.depth is no key of the model"),
        ("[model]", "[augment]\nhorizontal_flip = true\n[model]", "has keys of images"),
        ("[model]", '[serving]\nprecision = "int8"\n[model]', "has no meaning for sound"),
    ],
)
def test_a_recipe_of_sound_says_what_it_lacks_and_what_it_has_too_much(
    old: str, new: str, words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        parse_recipe(RECIPE.replace(old, new))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("[augment]\ngain_db = 3.0", "belong to sound"),
        ('[model]\nname = "audio_cnn"', "takes sound"),
    ],
)
def test_a_recipe_of_images_has_nothing_of_sound(more: str, words: str) -> None:
    text = """
    [project]
    name = "digits"
    task = "image_classification"
    [data]
    format = "manifest"
    manifest = "labels.csv"
    image_size = [8, 8]
    labels = ["a", "b"]
    """
    assert parse_recipe(text)
    with pytest.raises(RecipeError, match=words):
        parse_recipe(text + more)


def test_recordings_of_a_manifest_are_sealed_as_int16_of_one_length() -> None:
    files = {f"{number}.wav": sweep(is_rising=number % 2 == 0, seed=number) for number in range(120)}
    files["bad.wav"] = wav(b"12", channels=40)
    lines = [
        {"file": f"../{name}", "label": "up" if number % 2 == 0 else "down"}
        for number, name in enumerate(files)
    ]
    files["lists/labels.jsonl"] = "\n".join(map(json.dumps, lines)).encode()
    recipe = RECIPE.replace("labels.csv", "labels.jsonl").replace(
        "rows_per", "max_refused_fraction = 0.05\nrows_per"
    )
    world = FilesWorld({PREFIX + name: raw for name, raw in files.items()}, recipe)
    assert all(unit.refused <= 1 for unit in world.prepare())
    sealed, manifest = world.seal()
    assert (manifest.input_dtype, manifest.input_shape) == ("int16", [2000])
    assert [ref.key for ref in manifest.raw] == [f"{PREFIX}lists/labels.jsonl"]
    sealed_rows = list(world.sealed_rows(sealed.version, manifest))
    rows = np.stack([row.x for row in sealed_rows])
    assert rows.dtype == np.int16
    assert rows.shape == (120, 2000)
    trained = np.stack([row.x for row in sealed_rows if row.split == "train"]).astype(float)
    assert manifest.mean == pytest.approx(trained.mean(), abs=1e-9)
    assert manifest.std == pytest.approx(trained.std())

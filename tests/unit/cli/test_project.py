"""Pushing a project: what goes, what stays, and under which digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lehr.contracts.recipe import parse_recipe
from lehr.errors import RecipeError, UserError
from lehr_cli import project
from lehr_cli.project import code_digest, read_files, read_recipe, refuse_missing_code, upload
from tests.fakes import InMemoryObjectStore

RECIPE = (Path(__file__).parents[3] / "examples" / "mnist" / "lehr.toml").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lehr.toml").write_text(RECIPE)
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "model.py").write_text("def build(): ...")
    for left_out in (
        "data/train.gz",
        "__pycache__/a.pyc",
        "net/__pycache__/b.pyc",
        ".git/config",
        "net/.hidden",
    ):
        path = tmp_path / left_out
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_code_goes_and_data_caches_and_hidden_files_stay(folder: Path) -> None:
    assert sorted(read_files(folder)) == ["lehr.toml", "net/model.py"]


def test_a_folder_named_data_within_the_code_goes(folder: Path) -> None:
    (folder / "net" / "data").mkdir()
    (folder / "net" / "data" / "tokens.py").write_text("")
    assert "net/data/tokens.py" in read_files(folder)


def test_a_large_file_is_refused_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "MAX_FILE_BYTES", 5)
    with pytest.raises(UserError, match=r"lehr\.toml: is 0\.0 MB") as raised:
        read_files(folder)
    assert "lehr drop" in raised.value.hint


def test_the_digest_changes_with_content_and_with_names_but_not_with_order() -> None:
    one = {"a": b"1", "b": b"2"}
    assert code_digest(one) == code_digest({"b": b"2", "a": b"1"})
    assert len(code_digest(one)) == 16
    others = ({"a": b"1"}, {"a": b"2", "b": b"1"}, {"a": b"1", "c": b"2"}, {"ab": b"1", "": b"2"})
    assert len({code_digest(one), *map(code_digest, others)}) == 5


def test_the_head_moves_after_every_file_is_there(folder: Path) -> None:
    store = InMemoryObjectStore()
    code_sha = upload(store, "mnist", read_files(folder))
    assert store.writes == [
        f"projects/mnist/{code_sha}/lehr.toml",
        f"projects/mnist/{code_sha}/net/model.py",
        "projects/mnist/head.json",
    ]
    assert json.loads(store.objects["projects/mnist/head.json"]) == {"code_sha": code_sha}


def test_a_folder_without_a_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no lehr\.toml"):
        read_recipe(tmp_path)


def test_a_fault_in_the_recipe_names_the_file_and_the_key(folder: Path) -> None:
    (folder / "lehr.toml").write_text(RECIPE.replace("epochs = 5", "epoch = 5"))
    with pytest.raises(RecipeError) as raised:
        read_recipe(folder)
    assert raised.value.place == str(folder / "lehr.toml")
    assert "epochs" in raised.value.hint


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            'name = "mlp"',
            'name = "custom"\nfactory = "net:build"',
            "model.factory is 'net:build', and there is no net.py",
        ),
        (
            "[gate]",
            '[hooks]\nmetrics = ["net.model:f1", "own:f2"]\n[gate]',
            r"hooks.metrics\[1\] is 'own:f2'",
        ),
    ],
)
def test_code_that_the_recipe_names_and_the_folder_lacks_is_missed_before_the_push(
    folder: Path, old: str, new: str, words: str
) -> None:
    recipe = parse_recipe(RECIPE.replace(old, new, 1))
    with pytest.raises(UserError, match=words) as raised:
        refuse_missing_code(recipe, read_files(folder), place="p")
    assert raised.value.hint == "the folder has net/model.py"


def test_an_override_that_does_not_fit_is_found_before_the_push(folder: Path) -> None:
    (folder / "lehr.toml").write_text(RECIPE + "\n[trials]\noverrides = [{ epochs = 0 }]\n")
    with pytest.raises(RecipeError, match="overrides"):
        read_recipe(folder)

"""The trainer's source in S3: under its hash, once, complete or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from functions.publish_trainer import app
from functions.publish_trainer.archive import pack
from functions.publish_trainer.publish import (
    CODE,
    PACKAGES,
    START,
    SUMS,
    bundle,
    find_code,
    own_trainer,
    publish,
    stock_trainer,
)
from lehr.errors import ConfigurationError
from tests.fakes import InMemoryObjectStore


@pytest.fixture
def code(tmp_path: Path) -> dict[str, Path]:
    """Three small packages, as layers would hold them."""
    for name in CODE:
        folder = tmp_path / "python" / name
        (folder / "__pycache__").mkdir(parents=True)
        (folder / "__init__.py").write_text(f'"""{name}"""\n')
        (folder / "__pycache__/__init__.cpython-313.pyc").write_bytes(b"stale")
    (tmp_path / "python/lehr_trainer" / START).write_text("exec true\n")
    return {name: tmp_path / "python" / name for name in CODE}


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def test_the_bundle_holds_the_three_packages_and_how_to_start_them(code: dict[str, Path]) -> None:
    files = bundle(code)
    assert list(files) == [START, "lehr.tar.gz", SUMS]
    found = names(files["lehr.tar.gz"])
    assert {name for name in found if "/" not in name} == set(CODE)
    assert not [name for name in found if "__pycache__" in name]


def test_third_party_packages_go_along_if_the_layer_was_built_with_them(code: dict[str, Path]) -> None:
    (code["lehr_trainer"].parent / PACKAGES).write_bytes(b"wheels")
    files = bundle(code)
    assert files[PACKAGES] == b"wheels"
    assert f"{hashlib.sha256(b'wheels').hexdigest()}  {PACKAGES}" in files[SUMS].decode().splitlines()


def test_the_same_files_are_the_same_version_whenever_they_were_written(code: dict[str, Path]) -> None:
    first = bundle(code)
    for path in code["lehr"].rglob("*.py"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert bundle(code) == first


def test_a_changed_line_is_another_version(code: dict[str, Path]) -> None:
    store = InMemoryObjectStore()
    first, _ = publish(bundle(code), store)
    (code["lehr_runtime"] / "__init__.py").write_text('"""other"""\n')
    second, _ = publish(bundle(code), store)
    assert first != second


def test_links_are_packed_as_what_they_point_to(code: dict[str, Path], tmp_path: Path) -> None:
    view = tmp_path / "view"
    view.mkdir()
    for name, folder in code.items():
        (view / name).symlink_to(folder)
    assert pack(view.iterdir()) == pack(code.values())


def test_it_is_written_once_and_the_sums_come_last(code: dict[str, Path]) -> None:
    store, files = InMemoryObjectStore(), bundle(code)
    version, uri = publish(files, store)
    assert uri == f"s3://bucket/trainer/{version}/"
    assert store.writes[-1] == f"trainer/{version}/{SUMS}"
    written = list(store.writes)
    assert publish(files, store) == (version, uri)
    assert store.writes == written


def test_what_a_fault_left_half_written_is_completed(code: dict[str, Path]) -> None:
    store, files = InMemoryObjectStore(), bundle(code)
    version, _ = publish(files, store)
    del store.objects[f"trainer/{version}/{SUMS}"], store.objects[f"trainer/{version}/{START}"]
    publish(files, store)
    assert {key.rpartition("/")[2] for key in store.objects} == set(files)


def test_a_stock_image_starts_with_the_script_of_the_channel(code: dict[str, Path]) -> None:
    trainer = stock_trainer(bundle(code), InMemoryObjectStore(), gpu_image="g", cpu_image="c")
    assert trainer.entrypoint == ["bash", "/opt/ml/input/data/trainer/start.sh"]
    assert (trainer.gpu_image, trainer.cpu_image) == ("g", "c")


def test_an_image_of_ones_own_needs_no_source() -> None:
    trainer = own_trainer("image:1")
    assert (trainer.uri, trainer.version, trainer.gpu_image) == ("", "", "image:1")
    assert trainer.entrypoint == ["python", "-m", "lehr_trainer"]


def test_the_settings_decide_which_of_the_two_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    store = InMemoryObjectStore()
    monkeypatch.setattr(app, "artifacts", lambda _: store)
    settings = {"artifact_bucket": "b", "gpu_image": "g", "cpu_image": "c"}
    assert app.answer(app.Settings(own_image="mine", **settings)).gpu_image == "mine"
    assert not store.objects
    assert app.answer(app.Settings(own_image=app.NO_IMAGE, **settings)).cpu_image == "c"
    assert store.objects


def test_a_layer_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(find_code()) == set(CODE)
    monkeypatch.setattr("functions.publish_trainer.publish.CODE", ("lehr", "no_such_package"))
    with pytest.raises(ConfigurationError, match="no_such_package"):
        find_code()

"""Packages of a layer that were built for another machine do not hide those of this environment."""

from __future__ import annotations

import importlib.machinery
import platform
from pathlib import Path

import pytest

from lehr_local.layer_packages import foreign_packages, usable

NATIVE = importlib.machinery.EXTENSION_SUFFIXES[0]
MACHINES = {"x86_64": 0x3E, "aarch64": 0xB7}
HERE = MACHINES.get(platform.machine(), 0x3E)
ELSEWHERE = 0xB7 if HERE == 0x3E else 0x3E


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(11) + machine.to_bytes(2, "little") + bytes(40)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A layer with one package of each kind."""
    files = {
        "pure/__init__.py": b"",
        "native/core" + NATIVE: elf(HERE),
        "stable/core.abi3.so": elf(HERE),
        "other_python/core.cpython-399-x86_64-linux-gnu.so": elf(HERE),
        "other_machine/deep/libthing.so.1": elf(ELSEWHERE),
        "other_machine-1.0.dist-info/RECORD": b"other_machine/deep/libthing.so.1,,\n",
        "native-1.0.dist-info/RECORD": b"native/core.so,,\n",
        "single.cpython-399-x86_64-linux-gnu.so": elf(HERE),
        "script/not_really.so": b"INPUT(libthing.so.1)",
    }
    for name, content in files.items():
        path = tmp_path / "python" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "python"


def test_compiled_code_for_another_python_or_machine_is_recognised(layer: Path) -> None:
    assert foreign_packages(layer) == {
        "other_python",
        "other_machine",
        "single.cpython-399-x86_64-linux-gnu.so",
    }


def test_what_is_left_is_there_and_what_is_foreign_is_not(layer: Path) -> None:
    view = usable(layer)
    assert view != layer
    assert {entry.name for entry in view.iterdir()} == {
        "pure",
        "native",
        "native-1.0.dist-info",
        "stable",
        "script",
    }
    assert (view / "pure/__init__.py").is_file()
    usable.cache_clear()
    assert usable(layer) == view


def test_a_layer_with_nothing_foreign_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "pure.py").write_text("")
    assert usable(tmp_path) == tmp_path
    missing = tmp_path / "missing"
    assert usable(missing) == missing

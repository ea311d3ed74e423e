"""Nothing that is read can run code: no pickle on any path, and no archive is unpacked by its own names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PRODUCT = ("layers", "functions", "trainer_image", "lehr_cli", "lehr_local")
_PICKLES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "cPickle", "_pickle"}
# torch.load with weights_only raises this of pickle's own for what it would not read.
_HARMLESS = {("pickle", "UnpicklingError")}
# Each with its reason. Both are of the local cloud, and of files of the person who runs it.
_REASONED = {
    "lehr_local/function_code.py": "source.extract",  # member by member, its name checked before
    "lehr_local/template_file.py": "yaml.load",  # by a SafeLoader with tags of its own
}
_UNPACKS = {"extract", "extractall", "unpack_archive"}


def faults(source: str) -> Iterator[str]:
    """What a module does that it must not, with the line."""
    for node in ast.walk(ast.parse(source)):
        line = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from (
                f"{line}: imports {one.name}" for one in node.names if one.name.split(".")[0] in _PICKLES
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _PICKLES:
            yield from (
                f"{line}: imports {one.name} of {node.module}"
                for one in node.names
                if (node.module, one.name) not in _HARMLESS
            )
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            options = {one.arg: ast.unparse(one.value) for one in node.keywords}
            if called == "torch.load" and options.get("weights_only") != "True":
                yield f"{line}: torch.load without weights_only=True"
            if "allow_pickle" in options and options["allow_pickle"] != "False":
                yield f"{line}: allow_pickle"
            if called in ("torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"):
                yield f"{line}: {called}"
            if called in ("yaml.load", "yaml.unsafe_load"):
                yield f"{line}: {called}"
            if called.rpartition(".")[2] in _UNPACKS:
                yield f"{line}: {called}"


def test_no_product_code_reads_what_could_run(root: Path) -> None:
    modules = [path for folder in PRODUCT for path in (root / folder).rglob("*.py")]
    assert len(modules) > 100
    found = [
        (str(path.relative_to(root)), fault) for path in modules for fault in faults(path.read_text("utf-8"))
    ]
    reasoned = [(name, fault) for name, fault in found if fault.endswith(f" {_REASONED.get(name)}")]
    assert [one for one in found if one not in reasoned] == []
    assert {name for name, _ in reasoned} == set(_REASONED), "a reason that nothing needs"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import dill as d",
        "from pickle import loads",
        "from pickle import UnpicklingError, Unpickler",
        "import joblib.numpy_pickle",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path, allow_pickle=True)",
        "torch.jit.load(path)",
        "archive.extractall(folder)",
        "tarfile.open(path).extract(member, folder)",
        "shutil.unpack_archive(path, folder)",
        "yaml.load(text, Loader)",
    ],
)
def test_each_of_them_is_seen(source: str) -> None:
    assert list(faults(source))


@pytest.mark.parametrize(
    "source",
    [
        "from pickle import UnpicklingError",
        "torch.load(file, map_location='cpu', weights_only=True)",
        "np.load(path)",
        "archive.extractfile(member)",
        "yaml.safe_load(text)",
    ],
)
def test_what_is_harmless_is_left_alone(source: str) -> None:
    assert not list(faults(source))

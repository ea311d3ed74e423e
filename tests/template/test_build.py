"""`sam build`: what would be uploaded, and that it imports as Lambda would import it.

The quick form builds for this machine's processor, where the result can be imported too; the full form
(`make check-template`) builds for both.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

import boto3
import pytest
import typing_extensions

from tests.template.conftest import ROOT, find_python313, run_sam

MEGABYTE = 1_000_000
LAMBDA_LIMIT = 250 * MEGABYTE  # a function with all of its layers, unzipped
LAYERS_LIMIT = 95 * MEGABYTE  # both layers are under the endpoint; a cold start reads them
SOURCES = ("template.yaml", "samconfig.toml", "functions", "layers", "trainer_image", "statemachine")
HOST = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]

NEEDED = "sam build for python3.13 needs that interpreter on PATH"
ARCHITECTURES = [
    pytest.param(name, marks=[] if name == HOST else pytest.mark.slow) for name in ("arm64", "x86_64")
]

pytestmark = pytest.mark.skipif(find_python313() is None, reason=NEEDED)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module", params=ARCHITECTURES)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sam_environment: dict[str, str]
) -> tuple[str, Path]:
    """The build of a copy, so that no file of the working tree decides about the result."""
    copy = tmp_path_factory.mktemp(request.param)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, copy)
    environment = sam_environment | {"ARCHITECTURE": request.param}
    overrides = f"ParameterKey=Architecture,ParameterValue={request.param}"
    result = run_sam("build", "--parameter-overrides", overrides, cwd=copy, environment=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return request.param, copy / ".aws-sam/build"


def test_the_layers_stay_under_their_limit(built: tuple[str, Path]) -> None:
    architecture, build = built
    sizes = {layer: size(build / layer) for layer in ("CoreLayer", "RuntimeLayer")}
    print(
        f"\n{architecture}: "
        + ", ".join(f"{name} {bytes_ / MEGABYTE:.1f} MB" for name, bytes_ in sizes.items())
    )
    assert sum(sizes.values()) < LAYERS_LIMIT


def test_the_layers_bring_their_bytecode_which_is_not_compared_with_its_source(
    built: tuple[str, Path],
) -> None:
    """Flags of a .pyc (PEP 552): 1 is by hash, never checked; a zip changes times, and /opt takes no new files."""
    _, build = built
    # Of numpy, what the endpoint imports: the rest goes without, for the size of the layer.
    runtime = ("lehr_runtime", "numpy/_core", "numpy/lib", "numpy/linalg", "onnxruntime/capi")
    packages = [("CoreLayer", name) for name in ("lehr", "msgspec", "aws_lambda_powertools/logging")]
    for layer, package in [*packages, *(("RuntimeLayer", name) for name in runtime)]:
        folder = build / layer / "python"
        sources = list((folder / package).rglob("*.py"))
        assert sources
        for source in sources:
            (compiled,) = source.parent.glob(f"__pycache__/{source.stem}.cpython-313.pyc")
            assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 1


def test_the_endpoint_brings_its_bytecode_too(built: tuple[str, Path]) -> None:
    _, build = built
    package = build / "PredictFunction"
    sources = list((package / "functions/predict").rglob("*.py"))
    assert {source.name for source in sources} >= {"app.py", "routes.py"}
    for source in sources:
        (compiled,) = source.parent.glob(f"__pycache__/{source.stem}.cpython-313.pyc")
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 1
    assert not list(package.rglob("Makefile")) + list(package.rglob("requirements.txt"))


def test_wheels_are_those_of_the_architecture(built: tuple[str, Path]) -> None:
    architecture, build = built
    machine = {"arm64": "aarch64", "x86_64": "x86_64"}[architecture]
    binaries = list((build / "RuntimeLayer").rglob("*.cpython-313-*.so"))
    assert binaries
    assert all(f"cpython-313-{machine}" in path.name for path in binaries)


def test_no_torch_in_anything_that_is_built(built: tuple[str, Path]) -> None:
    _, build = built
    assert not [path for path in build.rglob("torch*") if path.is_dir()]


def test_proposing_trials_brings_optuna_and_stays_far_below_the_limit(built: tuple[str, Path]) -> None:
    architecture, build = built
    function, layer = build / "ProposeTrialsFunction", build / "CoreLayer/python"
    total = size(function) + size(layer)
    print(f"\n{architecture}: ProposeTrialsFunction with its layer {total / MEGABYTE:.1f} MB")
    assert total < 0.7 * LAMBDA_LIMIT
    if architecture != HOST:
        pytest.skip(f"a build for {architecture} does not run on this machine")
    folder = find_python313()
    assert folder is not None
    script = (
        "import functions.propose_trials.tpe as tpe, numpy, optuna, sys; "
        f"assert {str(function)!r} in optuna.__file__ and {str(function)!r} in numpy.__file__; "
        "study = optuna.create_study(sampler=tpe.TPESampler(seed=1)); "
        "study.ask({'x': tpe.FloatDistribution(0.0, 1.0)}); assert 'sqlalchemy' not in sys.modules"
    )
    result = subprocess.run(
        [str(folder / "python3.13"), "-c", script],
        env={"PYTHONPATH": f"{function}:{layer}"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr


def test_the_layer_of_the_trainer_brings_what_a_stock_container_lacks(
    built: tuple[str, Path], tmp_path: Path
) -> None:
    _, build = built
    layers = [build / name for name in ("CoreLayer", "RuntimeLayer", "TrainerLayer")]
    assert sum(map(size, layers)) < LAMBDA_LIMIT
    with tarfile.open(build / "TrainerLayer/python/trainer-packages.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    binaries = list(tmp_path.rglob("*.so"))
    assert binaries
    # GPU instances are x86_64, whatever the functions run on.
    assert all("x86_64" in path.name for path in binaries if ".cpython-313-" in path.name)
    if HOST != "x86_64":
        pytest.skip("packages for x86_64 do not run on this machine")
    # typing_extensions comes with the container's torch.
    script = (
        f"import sys; sys.path.append({str(Path(typing_extensions.__file__).parent)!r}); "
        "import msgspec, numpy, onnx, onnxruntime, onnx_ir, onnxscript, lehr_trainer.job, lehr_runtime.shards; "
        "brought = (msgspec, numpy, onnx, onnxruntime, onnxscript); "
        f"assert all({str(tmp_path)!r} in module.__file__ for module in brought)"
    )
    code = [build / "TrainerLayer/python", build / "CoreLayer/python", build / "RuntimeLayer/python"]
    folder = find_python313()
    assert folder is not None
    result = subprocess.run(
        [str(folder / "python3.13"), "-c", script],
        # The container's order: what the channel brings goes first.
        env={"PYTHONPATH": ":".join(map(str, [tmp_path, *code]))},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr


def test_every_handler_imports_under_the_built_tree(built: tuple[str, Path]) -> None:
    architecture, build = built
    if architecture != HOST:
        pytest.skip(f"a build for {architecture} does not run on this machine")
    folder = find_python313()
    assert folder is not None
    for function in sorted(path for path in build.iterdir() if path.name.endswith("Function")):
        (app,) = function.glob("functions/*/app.py")
        module = f"functions.{app.parent.name}.app"
        # Lambda's own runtime brings boto3, so it alone may come from elsewhere, and last.
        script = (
            f"import sys, importlib; sys.path.append({str(Path(boto3.__file__).parents[1])!r}); "
            f"module = importlib.import_module({module!r}); assert callable(module.handler); "
            f"import lehr; assert {str(build)!r} in lehr.__file__"
        )
        layers = [build / "CoreLayer/python", build / "RuntimeLayer/python"]
        environment = {
            "PYTHONPATH": ":".join(map(str, [function, *layers])),
            "POWERTOOLS_TRACE_DISABLED": "1",
        }
        command = [str(folder / "python3.13"), "-c", script]
        result = subprocess.run(
            command, env=environment, cwd="/", capture_output=True, text=True, timeout=120
        )
        assert result.returncode == 0, f"{module}: {result.stderr}"

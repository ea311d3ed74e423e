"""What [backend] may say of a function, and that what it may not is answered with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from lehr.contracts.recipe import parse_recipe
from lehr.contracts.recipe_tables import Backend
from lehr.errors import RecipeError

MNIST = (Path(__file__).parents[3] / "examples/mnist/lehr.toml").read_text()
HEAD, _, REST = MNIST.partition("[backend]\n")
GATE = REST[REST.index("[gate]") :]


def read(backend: str, more: str = "") -> Backend:
    return parse_recipe(f"{HEAD}[backend]\n{backend}\n{more}\n{GATE}").backend


def test_a_function_needs_no_other_key() -> None:
    backend = read('kind = "lambda"')
    assert (backend.kind, backend.memory_mb) == ("lambda", None)


def test_what_is_true_of_a_function_anyway_may_be_said() -> None:
    read('kind = "lambda"\nspot = false\ngpus = 0\ninstance_count = 1\nkeep_alive_s = 0')


@pytest.mark.parametrize(
    "key",
    [
        'instance_type = "ml.g5.xlarge"',
        'fallback_instance_types = ["ml.g6.xlarge"]',
        "spot = true",
        "max_wait_s = 7200",
        "volume_gb = 50",
        "keep_alive_s = 60",
        "vcpus = 4",
        "gpus = 1",
    ],
)
def test_a_key_of_machines_is_refused_and_named(key: str) -> None:
    name = key.partition(" ")[0]
    with pytest.raises(
        RecipeError, match=rf"backend\.{name}: no meaning for kind = \"lambda\".*leave them out"
    ):
        read(f'kind = "lambda"\n{key}')


def test_all_of_them_are_named_at_once() -> None:
    with pytest.raises(RecipeError, match=r"backend\.instance_type, backend\.gpus: no meaning"):
        read('kind = "lambda"\ngpus = 1\ninstance_type = "ml.g5.xlarge"')


@pytest.mark.parametrize(
    "backend", ['kind = "lambda"\nfallback = "sagemaker"', 'kind = "sagemaker"\nfallback = "lambda"']
)
def test_with_another_backend_beside_it_they_are_that_ones(backend: str) -> None:
    assert read(f'{backend}\ninstance_type = "ml.m5.large"\nspot = true').instance_type == "ml.m5.large"


def test_more_memory_than_any_function_has_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"memory_mb is 10241; a function has 10240 at most"):
        read('kind = "lambda"\nmemory_mb = 10241')
    assert read('kind = "lambda"\nmemory_mb = 10240').memory_mb == 10240


def test_more_slices_than_an_execution_can_count_are_refused() -> None:
    many = "[trials]\nconcurrency = 4\noverrides = [" + ", ".join(["{ epochs = 2 }"] * 100) + "]"
    with pytest.raises(RecipeError, match=r"100 trial\(s\) of 20000 s are more than 2000 calls"):
        read('kind = "lambda"\nmax_runtime_s = 20000', many)
    read('kind = "lambda"\nmax_runtime_s = 16000', many)


def test_more_jobs_than_an_execution_can_count_are_refused() -> None:
    backend = 'kind = "sagemaker"\ninstance_type = "ml.m5.large"\nspot = true\nfallback = "batch"'
    sweep = '[trials]\nsearch = "random"\ncount = 500\nconcurrency = 8\n[trials.space]\nseed = { low = 1, high = 9000 }'
    with pytest.raises(RecipeError, match=r"500 trainings in up to 4 attempt\(s\) each.*spot = false"):
        read(backend, sweep)
    read(backend.replace('\nfallback = "batch"', ""), sweep)


def test_a_sweep_that_could_outlast_its_run_is_refused() -> None:
    many = "[trials]\nconcurrency = 2\noverrides = [" + ", ".join(["{ epochs = 2 }"] * 20) + "]"
    backend = 'kind = "sagemaker"\nmax_runtime_s = '
    with pytest.raises(RecipeError, match=r"20 trainings of 86400 s could take 10\.0 days; a run has 7"):
        read(f"{backend}86400", many)
    read(f"{backend}60000", many)

"""What several processes cannot do is said when the recipe is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from lehr.contracts.recipe import parse_recipe
from lehr.errors import RecipeError

MNIST = (Path(__file__).parents[3] / "examples/mnist/lehr.toml").read_text()


def recipe(training: str = "", backend: str = "") -> str:
    text = MNIST.replace("epochs = 5", f"epochs = 5\n{training}")
    return text.replace('kind = "sagemaker"', f'kind = "sagemaker"\n{backend}')


@pytest.mark.parametrize(
    ("training", "backend", "words"),
    [
        ("", "instance_count = 17", ["backend.instance_count", "<= 16"]),
        (
            "",
            "instance_count = 16\nprocesses_per_instance = 4",
            ["training.batch_size is 32", "64 processes", "larger"],
        ),
        (
            "",
            'fallback = "batch"\ngpus = 2\nprocesses_per_instance = 4',
            ["processes_per_instance is 4", "gpus, which is 2"],
        ),
        ('sharding = "fsdp"', "processes_per_instance = 1", ['sharding = "fsdp" has one process']),
        ('sharding = "fsdp"', 'fallback = "lambda"', ["a function trains in one", "kind and fallback"]),
        (
            "",
            'fallback = "lambda"\nprocesses_per_instance = 2',
            ["processes_per_instance is 2", "a function trains in one process"],
        ),
        ('sharding = "zero"', "", ["training.sharding", "zero"]),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(training: str, backend: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(recipe(training, backend))
    for word in ["lehr.toml", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("batch_size = [8, 32]", "batch_size is 8, less than the 16 processes"),
        ('sharding = ["none", "fsdp"]\noptimizer = ["adam", "muon"]', "muon needs whole matrices"),
    ],
)
def test_a_point_of_a_sweep_that_does_not_fit_the_processes_is_refused(space: str, words: str) -> None:
    text = recipe("", "instance_count = 16").replace(
        "[gate]", f'[trials]\nsearch = "grid"\n[trials.space]\n{space}\n[gate]'
    )
    with pytest.raises(RecipeError, match=words):
        parse_recipe(text)


def test_muon_is_refused_for_shards_in_any_trial() -> None:
    trials = '[trials]\noverrides = [{ seed = 2 }, { optimizer = "muon" }]\n[gate]'
    text = recipe('sharding = "fsdp"').replace("[gate]", trials)
    with pytest.raises(RecipeError, match="muon needs whole matrices"):
        parse_recipe(text)


@pytest.mark.parametrize(
    ("training", "backend"),
    [
        ("", "instance_count = 16"),
        ("", "instance_count = 2\nprocesses_per_instance = 16"),
        ('sharding = "fsdp"', ""),
        ('sharding = "fsdp"', "instance_count = 2\nprocesses_per_instance = 1"),
    ],
)
def test_what_may_work_is_not_refused(training: str, backend: str) -> None:
    parse_recipe(recipe(training, backend))


@pytest.mark.parametrize(
    ("training", "backend", "word"),
    [
        ("", 'fallback = "lambda"\nprocesses_per_instance = 2', "a function trains in one process"),
        ('sharding = "fsdp"', 'fallback = "lambda"', 'sharding = "fsdp" needs several processes'),
    ],
)
def test_a_function_to_fall_back_to_is_one_process(training: str, backend: str, word: str) -> None:
    with pytest.raises(RecipeError, match=word):
        parse_recipe(recipe(training, backend))


def test_a_search_must_fit_the_processes_too() -> None:
    space = '[trials]\nsearch = "grid"\n[trials.space]\noptimizer = ["adamw", "muon"]\n[gate]'
    with pytest.raises(RecipeError, match="muon needs whole matrices"):
        parse_recipe(recipe('sharding = "fsdp"').replace("[gate]", space))

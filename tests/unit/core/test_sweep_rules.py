"""[trials]: what a sweep may choose from, in which numbers, and what is refused before anything trains."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from lehr.contracts.recipe import Recipe, parse_recipe
from lehr.contracts.rungs import Rung, halving_rungs
from lehr.contracts.search_space import MAX_TRIALS, read_space
from lehr.contracts.sweep_rules import planned_points
from lehr.contracts.training import read_hyperparameters, to_hyperparameters
from lehr.errors import RecipeError
from lehr.sweeps import objective_of, planned_rounds, planned_trainings, planned_trials, ranked, trial
from tests.sweeps import completed_trials

BASE = """
[project]
name = "mnist"
task = "image_classification"
[data]
format = "idx"
train = { images = "a", labels = "b" }
test = { images = "c", labels = "d" }
labels = ["0", "1"]
validation_fraction = 0.1
[training]
epochs = 9
"""


def recipe(trials: str, base: str = BASE) -> Recipe:
    return parse_recipe(f"{base}\n[trials]\n{trials}")


def points(trials: str) -> list[dict[str, Any]]:
    return planned_points(recipe(trials), place="lehr.toml")


def test_a_grid_is_every_combination_the_last_key_varying_fastest() -> None:
    found = points(
        'search = "grid"\n[trials.space]\nlearning_rate = [0.1, 0.01]\n'
        "model.dropout = { low = 0.0, high = 0.4, step = 0.2 }"
    )
    assert [tuple(point.values()) for point in found] == [
        *((0.1, 0.0), (0.1, 0.2), (0.1, 0.4)),
        *((0.01, 0.0), (0.01, 0.2), (0.01, 0.4)),
    ]
    assert list(found[0]) == ["learning_rate", "model.dropout"]


def test_the_same_seed_draws_the_same_points_and_another_seed_others() -> None:
    space = "\n[trials.space]\nlearning_rate = { low = 1e-4, high = 1e-1, log = true }\nbatch_size = [32, 64]"
    first, again, other = (
        points(f'search = "random"\ncount = 8\nseed = {seed}{space}') for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    # More trials begin with the same ones: a sweep can be widened.
    assert points(f'search = "random"\ncount = 20\nseed = 1{space}')[:8] == first


def test_draws_lie_within_their_interval_and_fill_it_evenly_on_their_scale() -> None:
    found = points(
        'search = "random"\nconcurrency = 8\ncount = 400\n[trials.space]\n'
        "learning_rate = { low = 1e-4, high = 1e-1, log = true }\nmomentum = { low = 0.0, high = 0.9 }\n"
        "batch_size = { low = 16, high = 128, step = 16 }\nepochs = { low = 1, high = 64, log = true }\n"
        'optimizer = ["sgd", "rmsprop"]'
    )
    rates = sorted(point["learning_rate"] for point in found)
    assert 1e-4 <= rates[0] < rates[-1] <= 1e-1
    assert math.log10(rates[200]) == pytest.approx(-2.5, abs=0.25)
    assert 0.0 <= min(p["momentum"] for p in found) < 0.1 < 0.8 < max(p["momentum"] for p in found) <= 0.9
    sizes = Counter(point["batch_size"] for point in found)
    assert sorted(sizes) == list(range(16, 129, 16))
    assert min(sizes.values()) > 25
    epochs = [point["epochs"] for point in found]
    assert {type(value) for value in epochs} == {int}
    assert (min(epochs), max(epochs)) == (1, 64)
    assert sum(value <= 8 for value in epochs) / 400 == pytest.approx(0.5, abs=0.1)
    assert len({point["optimizer"] for point in found}) == 2


def test_a_point_that_the_rules_refuse_is_drawn_again() -> None:
    found = points(
        'search = "random"\ncount = 30\n[trials.space]\n'
        'optimizer = ["adam", "sgd"]\nmomentum = { low = 0.0, high = 0.9 }\n'
    )
    # Adam takes no momentum, so that only sgd is left.
    assert {point["optimizer"] for point in found} == {"sgd"}


def test_of_a_small_space_every_point_is_found_however_many_are_asked_for() -> None:
    space = "[trials.space]\nseed = { low = 1, high = 25 }\nbatch_size = [8, 16, 32, 64]"
    found = points(f'search = "random"\ncount = 100\n{space}')
    assert len({tuple(point.values()) for point in found}) == 100


@pytest.mark.parametrize(
    ("trials", "epochs", "eta", "shortest", "rungs"),
    [
        (4, 4, 2, 1, [(4, 1), (2, 2), (1, 4)]),
        (9, 9, 3, 1, [(9, 1), (3, 3), (1, 9)]),
        (81, 81, 3, 1, [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]),
        (10, 9, 3, 1, [(10, 1), (3, 3), (1, 9)]),
        (4, 10, 2, 1, [(4, 1), (2, 2), (1, 10)]),
        (100, 4, 4, 2, [(100, 2), (25, 4)]),
        (16, 5, 4, 2, [(16, 2), (4, 5)]),
        (2, 3, 2, 2, [(2, 2), (1, 3)]),
        (1, 5, 3, 1, [(1, 5)]),
    ],
)
def test_halving_is_the_arithmetic_of_the_paper(
    trials: int, epochs: int, eta: int, shortest: int, rungs: list[tuple[int, int]]
) -> None:
    assert halving_rungs(trials, epochs, eta=eta, min_epochs=shortest) == [Rung(*rung) for rung in rungs]


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ("", (1, 1, 1)),
        ("overrides = [{ seed = 1 }, { seed = 2 }]", (2, 2, 1)),
        ('search = "grid"\n[trials.space]\nseed = { low = 1, high = 90 }', (90, 90, 3)),
        (
            'search = "tpe"\ncount = 9\nconcurrency = 4\n[trials.space]\nlearning_rate = { low = 0.1, high = 1.0 }',
            (9, 9, 3),
        ),
        (
            'search = "successive_halving"\ncount = 9\n[trials.space]\nlearning_rate = { low = 0.1, high = 1.0 }',
            (9, 13, 3),
        ),
    ],
)
def test_trials_jobs_and_rounds_are_known_beforehand(trials: str, expected: tuple[int, int, int]) -> None:
    planned = recipe(trials)
    assert (planned_trials(planned), planned_trainings(planned), planned_rounds(planned)) == expected


@pytest.mark.parametrize(
    ("trials", "words"),
    [
        ("count = 3", "count has no meaning without search"),
        ("eta = 3", "eta has no meaning without search"),
        ("[trials.space]\nseed = [1]", "space has no meaning without search"),
        ('search = "grid"', "needs a space"),
        ('search = "hyperband"', "hyperband"),
        ('search = "random"\n[trials.space]\nlearning_rate = [0.1]', "needs a count"),
        ('search = "grid"\ncount = 2\n[trials.space]\nseed = [1, 2]', "count has no meaning"),
        ('search = "grid"\noverrides = [{}]\n[trials.space]\nseed = [1]', "overrides and search both"),
        ('search = "grid"\n[trials.space]\nlerning_rate = [0.1]', "did you mean 'learning_rate'"),
        (
            'search = "grid"\n[trials.space]\nlerning_rate = { low = 0.1, high = 1 }',
            "did you mean 'learning_rate'",
        ),
        ('search = "grid"\n[trials.space]\nmodel.hiden = [[1]]', "did you mean 'hidden'"),
        ('search = "grid"\n[trials.space]\nmodel.width = [8]', "model.width is no key of the model 'mlp'"),
        ('search = "grid"\n[trials.space]\nmodel.name = ["cnn"]', "model.name is no setting of a trial"),
        ('search = "grid"\n[trials.space]\nlearning_rate = [0.1, "x"]', "trials.space.learning_rate"),
        ('search = "grid"\n[trials.space]\nlearning_rate = []', "is an empty list"),
        ('search = "grid"\n[trials.space]\nlearning_rate = [0.1, 0.1]', "has 0.1 twice"),
        ('search = "grid"\n[trials.space]\nlearning_rate = 0.1', "write a list of values"),
        (
            'search = "random"\ncount = 1\n[trials.space]\nlearning_rate = { low = 1.0, high = 0.1 }',
            "is not below high",
        ),
        ('search = "random"\ncount = 1\n[trials.space]\nlearning_rate = { low = 0.1 }', "has no high"),
        (
            'search = "random"\ncount = 1\n[trials.space]\nlearning_rate = { low = 0.1, hihg = 1 }',
            "unknown key 'hihg'",
        ),
        (
            'search = "random"\ncount = 1\n[trials.space]\nmomentum = { low = 0.0, high = 0.9, log = true }',
            "log scale",
        ),
        ('search = "random"\ncount = 1\n[trials.space]\nmodel.dropout = { low = 0.0, high = 1.5 }', "<= 1.0"),
        (
            'search = "random"\ncount = 1\n[trials.space]\nepochs = { low = 1.0, high = 3 }',
            "takes whole numbers",
        ),
        (
            'search = "random"\ncount = 1\n[trials.space]\noptimizer = { low = 1, high = 3 }',
            "trials.space.optimizer",
        ),
        (
            'search = "random"\ncount = 1\n[trials.space]\nepochs = { low = 1, high = 3, step = 5 }',
            "step = 5",
        ),
        ('search = "grid"\n[trials.space]\nlearning_rate = { low = 0.1, high = 1.0 }', "a grid cannot list"),
        (
            'search = "grid"\n[trials.space]\nseed = { low = 1, high = 501 }',
            f"501 points, at most {MAX_TRIALS}",
        ),
        (
            'search = "random"\ncount = 501\n[trials.space]\nmomentum = { low = 0.1, high = 0.2 }',
            "count is 501",
        ),
        ('search = "random"\ncount = 5\n[trials.space]\nseed = [1, 2]', "the space has 2 points"),
        (
            'search = "grid"\n[trials.space]\noptimizer = ["sgd", "adam"]\nmomentum = [0.9]',
            "momentum = 0.9, optimizer = adam: momentum = 0.9 has no meaning for adam",
        ),
        (
            'search = "tpe"\ncount = 2\n[trials.space]\nmomentum = { low = 0.1, high = 0.9 }',
            "none is new and allowed.*momentum",
        ),
        (
            'search = "random"\ncount = 2\neta = 2\n[trials.space]\nmomentum = [0.1]',
            'belongs to search = "successive',
        ),
        (
            'search = "successive_halving"\ncount = 2\n[trials.space]\nseed = [1, 2]',
            "count = 2 is less than eta = 3",
        ),
        (
            'search = "successive_halving"\ncount = 3\n[trials.space]\nepochs = [1, 2, 3]',
            "decides itself how long",
        ),
        (
            'search = "successive_halving"\ncount = 3\nmin_epochs = 9\n[trials.space]\nseed = [1, 2, 3]',
            "min_epochs = 9 is not below training.epochs = 9",
        ),
    ],
)
def test_what_makes_no_sweep_is_refused_with_its_place(trials: str, words: str) -> None:
    with pytest.raises(RecipeError, match=f"(?s)lehr.toml.*{words}"):
        recipe(trials)


def test_a_model_of_ones_own_has_no_keys_to_vary() -> None:
    own = BASE.replace("[training]", '[model]\nname = "custom"\nfactory = "net:build"\n[training]')
    recipe('search = "grid"\n[trials.space]\nseed = [1, 2]', own)
    with pytest.raises(RecipeError, match=r"model\.hidden does not reach a factory"):
        recipe('search = "grid"\n[trials.space]\nmodel.hidden = [[1], [2]]', own)


@pytest.mark.parametrize(
    "trials",
    ['objective = "validation_loss"', 'search = "grid"\n[trials.space]\nseed = [1, 2]'],
)
def test_an_objective_needs_held_out_rows(trials: str) -> None:
    with pytest.raises(RecipeError, match="needs held-out rows"):
        recipe(trials, BASE.replace("validation_fraction = 0.1", "validation_fraction = 0.0"))


def test_a_trial_carries_the_keys_of_its_model_and_the_epochs_of_its_rung() -> None:
    point = {"learning_rate": 0.5, "model.hidden": [16, 8], "model.dropout": 0.0}
    proposed = trial(recipe(""), 7, point, rung=1, epochs=3)
    assert (proposed.id, proposed.name, proposed.rung) == ("7", "7b", 1)
    assert all(isinstance(value, str) for value in proposed.hyperparameters.values())
    settings = read_hyperparameters(proposed.hyperparameters)
    assert (settings.training.learning_rate, settings.training.epochs, settings.rung_epochs) == (0.5, 9, 3)
    assert settings.model == {"hidden": [16, 8], "dropout": 0.0}


def test_overrides_may_change_the_model_too() -> None:
    planned = recipe("overrides = [{ seed = 3, model.hidden = [4] }, {}]")
    assert planned_points(planned, place="") == [{"seed": 3, "model.hidden": [4]}, {}]
    with pytest.raises(RecipeError, match=r"overrides\[0\].*did you mean 'hidden'"):
        recipe("overrides = [{ model.hiden = [4] }]")


def test_an_ordinary_trial_travels_as_it_always_did() -> None:
    planned = recipe("")
    assert trial(planned, 0, {}).hyperparameters == to_hyperparameters(planned.training)


def test_a_recipe_with_a_space_is_written_and_read_without_change() -> None:
    planned = recipe(
        'search = "random"\ncount = 3\n[trials.space]\nlearning_rate = { low = 0.1, high = 1.0 }'
    )
    again = Recipe.from_json(planned.to_json())
    assert again == planned
    assert read_space(again, place="") == read_space(planned, place="")


def test_the_points_are_the_same_from_toml_and_from_the_json_that_the_functions_read() -> None:
    """Its keys are sorted there, and the order of the keys is the order of the draws."""
    planned = recipe(
        'search = "random"\ncount = 3\n[trials.space]\nseed = { low = 1, high = 99 }\nbatch_size = [8, 16]'
    )
    again = Recipe.from_json(planned.to_json())
    assert planned_points(again, place="") == planned_points(planned, place="")


@pytest.mark.parametrize(
    ("extra", "fraction", "objective"),
    [
        ("", 0.1, "validation_mean_iou"),
        ("", 0.0, "validation_loss"),
        ('\n[trials]\nobjective = "validation_loss"', 0.1, "validation_loss"),
    ],
)
def test_trials_of_masks_are_compared_by_their_mean_iou_the_highest_first(
    extra: str, fraction: float, objective: str
) -> None:
    asked = parse_recipe(
        '[project]\nname = "scenes"\ntask = "image_segmentation"\n[data]\nformat = "masks"\nfiles = ["i/*"]\n'
        f'masks = ["m/*"]\nimage_size = [4, 4]\nlabels = ["a", "b"]\nvalidation_fraction = {fraction}\n'
        f'[model]\nname = "unet"\nchannels = [4]{extra}'
    )
    assert objective_of(asked) == objective
    records = completed_trials([0.2, 0.6, 0.4])
    order = [record.id for record in ranked(records, objective_of(asked))]
    assert order == (["1", "2", "0"] if objective == "validation_mean_iou" else ["0", "2", "1"])

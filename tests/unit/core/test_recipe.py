"""The recipe: what a person writes by hand must fail with the place and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from lehr.contracts.recipe import Recipe, parse_recipe
from lehr.contracts.training import from_hyperparameters, to_hyperparameters
from lehr.errors import ContractError, RecipeError

ROOT = Path(__file__).parents[3]
MNIST = (ROOT / "examples/mnist/lehr.toml").read_text()


def test_the_example_of_the_readme_is_a_recipe() -> None:
    recipe = parse_recipe(MNIST)
    assert (recipe.project.name, recipe.training.epochs, recipe.gate.min_accuracy) == ("mnist", 5, 0.975)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs = 5", "epoch = 5", ["training.epoch", "did you mean 'epochs'?"]),
        ("[gate]", "[gates]", ["'gates'", "did you mean 'gate'?"]),
        ("epochs = 5", "zzzz = 5", ["training.zzzz", "known here: optimizer, learning_rate"]),
        ('images = "train', 'image = "train', ["data.train.image", "did you mean 'images'?"]),
        ("epochs = 5", "epochs = 0", ["training.epochs", ">= 1"]),
        ("epochs = 5", 'epochs = "five"', ["training.epochs", "Expected `int`"]),
        ('optimizer = "adam"', 'optimizer = "adan"', ["training.optimizer", "adan"]),
        ('name = "mnist"', 'name = "../mnist"', ["project.name"]),
        ('name = "mnist"', 'name = "' + "m" * 33 + '"', ["project.name"]),
        ("[project]", "[project", ["lehr.toml", "TOML"]),
        ('name = "mlp"', 'name = "custom"\nfactory = "no colon"', ["model.factory", "module:function"]),
        ("validation_fraction = 0.02", "validation_fraction = nan", ["data.validation_fraction"]),
        (
            "[gate]",
            "[trials]\noverrides = [{ learning_rat = 0.1 }]\n[gate]",
            ["trials.overrides[0]", "learning_rate"],
        ),
        ("[gate]", "[trials]\noverrides = [{ epochs = -1 }]\n[gate]", ["trials.overrides[0]", "epochs"]),
        ('name = "mnist"', 'name = "mnist"\nschema = 1', ["project.schema"]),
        ('name = "mlp"', 'name = "resnet"', ["model.hidden", "'resnet'", "mlp and custom", "depth, width"]),
        ("hidden = [128]", "depth = 8", ["model.depth", "'mlp'", "belongs to resnet", "hidden, dropout"]),
        ("hidden = [128]", 'factory = "net:build"', ["model.factory", "'mlp'", "belongs to custom"]),
        (
            "[gate]",
            "[augment]\nhorizontal = true\n[gate]",
            ["augment.horizontal", "did you mean 'horizontal_flip'?"],
        ),
        (
            "[gate]",
            "[augment]\ncrop_padding = 2\nshift = 0.1\n[gate]",
            ["augment.crop_padding and augment.shift", "leave one out"],
        ),
        ("[gate]", "[augment]\nrotation_degrees = 181\n[gate]", ["augment.rotation_degrees", "<= 180"]),
    ],
)
def test_a_mistake_is_answered_with_its_place(old: str, new: str, words: list[str]) -> None:
    assert old in MNIST
    with pytest.raises(RecipeError) as caught:
        parse_recipe(MNIST.replace(old, new, 1), place="examples/mnist/lehr.toml")
    assert str(caught.value).startswith("examples/mnist/lehr.toml")
    for word in words:
        assert word in str(caught.value)


def test_an_absent_table_that_is_required_is_named() -> None:
    with pytest.raises(RecipeError, match="data"):
        parse_recipe('[project]\nname = "a"\ntask = "image_classification"\n')


def test_hyperparameters_survive_the_journey_as_strings() -> None:
    training = parse_recipe(MNIST).training
    carried = to_hyperparameters(training)
    assert all(isinstance(value, str) for value in carried.values())
    assert from_hyperparameters(carried) == training


def test_a_hyperparameter_of_the_wrong_type_is_named() -> None:
    with pytest.raises(ContractError, match="epochs"):
        from_hyperparameters({"epochs": "many"})


def test_trials_are_overrides_of_training() -> None:
    text = MNIST.replace("[gate]", "[trials]\noverrides = [{ learning_rate = 0.01 }, { epochs = 2 }]\n[gate]")
    first, second = parse_recipe(text).trial_settings()
    assert (first.learning_rate, first.epochs) == (0.01, 5)
    assert (second.learning_rate, second.epochs) == (0.001, 2)


def test_a_run_without_trials_is_a_sweep_of_one() -> None:
    recipe = parse_recipe(MNIST)
    assert recipe.trial_settings() == [recipe.training]


def test_a_recipe_survives_the_journey_as_json() -> None:
    recipe = parse_recipe(MNIST)
    assert Recipe.from_json(recipe.to_json()) == recipe

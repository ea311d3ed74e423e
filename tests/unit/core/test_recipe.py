"""The recipe: what a person writes by hand must fail with the place and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from lehr.contracts.recipe import Recipe, parse_recipe
from lehr.contracts.recipe_tables import Training
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


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            'optimizer = "adamw"\nmomentum = 0.5',
            ["momentum = 0.5 has no meaning for adamw", "muon, rmsprop, sgd"],
        ),
        ("nesterov = true", ["nesterov = true has no meaning for adam", 'optimizer = "sgd"']),
        ('optimizer = "muon"\nnesterov = true', ["no meaning for muon", "muon has it always"]),
        ('optimizer = "sgd"\nnesterov = true', ["needs a momentum", "momentum = 0.9"]),
        ('schedule = "step"', ["needs milestones", "milestones = [0.5, 0.75]"]),
        ("milestones = [0.5]", ["milestones has no meaning", 'schedule = "step"']),
        ("decay_factor = 0.5", ["decay_factor has no meaning", 'schedule = "step"']),
        (
            'schedule = "one_cycle"\nfinal_fraction = 0.5',
            ["final_fraction has no meaning", 'schedule = "cosine"'],
        ),
        ('schedule = "step"\nmilestones = [0.8, 0.5]', ["milestones are [0.8, 0.5]", "ascending"]),
        ('schedule = "step"\nmilestones = [1.5]', ["training.milestones", "< 1.0"]),
        ('schedule = "one_cycle"\nwarmup_fraction = 0.0', ["warmup_fraction = 0", "leave it out for 0.3"]),
        ("warmup_fraction = 1.0", ["training.warmup_fraction", "< 1.0"]),
        ('loss = "dice"', ['loss = "dice" does not fit project.task', "cross_entropy or focal"]),
        ('loss = "mse"', ['loss = "mse" does not fit project.task = "image_classification"']),
        ('loss = "focal"\nlabel_smoothing = 0.1', ["label_smoothing = 0.1 has no meaning", "cross_entropy"]),
        ("focal_gamma = 2.0", ["focal_gamma has no meaning", 'loss = "focal"']),
        ("class_weights = [1.0, 2.0]", ["2 numbers for 10 labels", '"balanced"']),
        ("class_weights = [0.0]", ["training.class_weights", "> 0.0"]),
        ('class_weights = "even"', ["training.class_weights", "even"]),
        ("clip_norm = 0.0", ["training.clip_norm", "> 0.0"]),
        ("ema_decay = 1.0", ["training.ema_decay", "< 1.0"]),
        ("min_delta = 0.1", ["min_delta has no meaning without patience", "patience = 3"]),
        ('monitor = "validation_loss"', ["monitor has no meaning without patience"]),
        ("accumulate_steps = 0", ["training.accumulate_steps", ">= 1"]),
        ('precision = "float16"', ["training.precision", "float16"]),
        ('freeze = [""]', ["training.freeze"]),
        (f'freeze = ["{"a" * 2500}"]', ["freeze takes 2504 characters", "2500"]),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(settings: str, words: list[str]) -> None:
    kept = [line for line in MNIST.split("[training]")[1].splitlines() if line.split(" =")[0] not in settings]
    text = MNIST.split("[training]")[0] + "[training]\n" + settings + "\n" + "\n".join(kept)
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text)
    assert str(caught.value).startswith("lehr.toml: training")
    for word in words:
        assert word in str(caught.value)


def test_patience_needs_rows_that_are_held_out() -> None:
    text = MNIST.replace("epochs = 5", "epochs = 5\npatience = 2")
    assert parse_recipe(text).training.patience == 2
    with pytest.raises(
        RecipeError, match=r"patience = 2 needs held-out rows \(make data.validation_fraction more"
    ):
        parse_recipe(text.replace("validation_fraction = 0.02", "validation_fraction = 0.0"))


def test_a_trial_whose_settings_do_not_belong_together_is_named() -> None:
    text = MNIST.replace("[gate]", "[trials]\noverrides = [{ epochs = 2 }, { nesterov = true }]\n[gate]")
    with pytest.raises(RecipeError, match=r"trials\.overrides\[1\]: nesterov = true has no meaning for adam"):
        parse_recipe(text)


def test_an_absent_table_that_is_required_is_named() -> None:
    with pytest.raises(RecipeError, match="data"):
        parse_recipe('[project]\nname = "a"\ntask = "image_classification"\n')


def test_hyperparameters_survive_the_journey_as_strings() -> None:
    training = parse_recipe(MNIST).training
    carried = to_hyperparameters(training)
    assert all(isinstance(value, str) for value in carried.values())
    assert from_hyperparameters(carried) == training


def test_every_hyperparameter_survives_the_journey_as_a_string() -> None:
    training = Training(
        optimizer="muon",
        momentum=0.5,
        clip_norm=1.0,
        schedule="step",
        warmup_fraction=0.1,
        milestones=(0.5, 0.75),
        decay_factor=0.2,
        class_weights=(1.0, 2.5),
        patience=3,
        min_delta=0.001,
        monitor="validation_accuracy",
        freeze=("0.*", "a.[bc]"),
    )
    assert from_hyperparameters(to_hyperparameters(training)) == training
    balanced = Training(class_weights="balanced", nesterov=True)
    assert from_hyperparameters(to_hyperparameters(balanced)) == balanced
    assert "momentum" not in to_hyperparameters(balanced), "what is not said does not travel"


def test_a_hyperparameter_that_is_no_list_is_named() -> None:
    with pytest.raises(ContractError, match="hyperparameters"):
        from_hyperparameters({"freeze": "[1"})


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


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").glob("*/lehr.toml")), ids=lambda path: path.parent.name
)
def test_every_example_is_a_recipe(path: Path) -> None:
    assert parse_recipe(path.read_text()).project.name == path.parent.name.replace("_", "-")

"""[hooks]: what a recipe may say beside a hook, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lehr.contracts.recipe import parse_recipe
from lehr.errors import RecipeError

MNIST = (Path(__file__).parents[3] / "examples/mnist/lehr.toml").read_text()
BARE = MNIST.replace('optimizer = "adam"\n', "").replace('loss = "cross_entropy"\n', "")


def with_hooks(hooks: str, text: str = BARE) -> str:
    return text + f"\n[hooks]\n{hooks}\n"


def test_hooks_are_read_and_leave_the_other_settings_as_they_are() -> None:
    every = 'loss = "own:loss"\nmetrics = ["own:f1", "more.own:auc"]\naugment = "a:b"\noptimizer = "own:o"'
    recipe = parse_recipe(
        with_hooks(every).replace("epochs = 5", "epochs = 5\npatience = 2\nmonitor = 'validation_f1'")
    )
    assert recipe.hooks.metrics == ("own:f1", "more.own:auc")
    assert (
        recipe.training
        == parse_recipe(
            with_hooks('metrics = ["own:f1"]').replace(
                "epochs = 5", "epochs = 5\npatience = 2\nmonitor = 'validation_f1'"
            )
        ).training
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (with_hooks('los = "own:loss"'), ["hooks.los", "did you mean 'loss'?"]),
        (with_hooks('loss = "own.loss"'), ["hooks.loss is 'own.loss'", "module:function"]),
        (with_hooks('metrics = [""]'), ["hooks.metrics[0] is ''"]),
        (with_hooks('metrics = ["own:accuracy"]'), ["'accuracy'", "name of its own"]),
        (with_hooks('metrics = ["own:f1", "other:f1"]'), ["two functions 'f1'"]),
        (
            with_hooks('metrics = ["own:f1"]', BARE.replace("fraction = 0.02", "fraction = 0.0")),
            ["hooks.metrics needs held-out rows"],
        ),
        (
            with_hooks('loss = "own:loss"', MNIST),
            ["training: loss has no meaning beside hooks.loss", "leave loss out"],
        ),
        (
            with_hooks('optimizer = "own:o"', BARE.replace("epochs = 5", "epochs = 5\nweight_decay = 0.0")),
            ["training: weight_decay has no meaning beside hooks.optimizer"],
        ),
        (
            with_hooks('loss = "own:loss"') + "[trials]\noverrides = [{}, { label_smoothing = 0.1 }]\n",
            ["trials.overrides[1]: label_smoothing has no meaning"],
        ),
        (
            with_hooks('optimizer = "own:o"')
            + '[trials]\nsearch = "grid"\n[trials.space]\nweight_decay = [0.0, 0.1]\n',
            ["trials.space: weight_decay has no meaning beside hooks.optimizer"],
        ),
        (
            BARE.replace("epochs = 5", "epochs = 5\npatience = 2")
            + '[trials]\nsearch = "grid"\n[trials.space]\nmonitor = ["validation_f1", "validation_loss"]\n',
            ["training.monitor is 'validation_f1'"],
        ),
        (
            with_hooks('augment = "own:a"') + "[augment]\nshift = 0.1\n",
            ["augment.shift has no meaning beside hooks.augment"],
        ),
        (
            BARE.replace("epochs = 5", 'epochs = 5\npatience = 2\nmonitor = "validation_acuracy"'),
            ["training.monitor is 'validation_acuracy'", "did you mean 'validation_accuracy'?"],
        ),
        (
            BARE.replace("epochs = 5", 'epochs = 5\nstart_anew = ["head.*"]'),
            ["start_anew has no meaning without start_from"],
        ),
        (BARE.replace("epochs = 5", 'epochs = 5\nstart_from = "best"'), ["training.start_from", "best"]),
    ],
)
def test_a_hook_beside_what_it_replaces_is_refused_with_the_way_out(text: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, place="p/lehr.toml")
    assert str(caught.value).startswith("p/lehr.toml")
    for word in words:
        assert word in str(caught.value)

"""[checks] in a recipe: what would be looked for in vain is refused, with the way out."""

from __future__ import annotations

import pytest

from lehr.contracts.recipe import parse_recipe
from lehr.errors import RecipeError

IMAGES = """
[project]
name = "p"
task = "image_classification"
[data]
format = "idx"
train = { images = "x", labels = "y" }
test = { images = "tx", labels = "ty" }
labels = ["a", "b"]
"""
TABLE = """
[project]
name = "p"
task = "TASK"
[data]
format = "csv"
files = ["x.csv"]
target = "y"
columns = { kind = "category" }
"""
CLASSES = TABLE.replace("TASK", "tabular_classification") + 'labels = ["a", "b"]\n'
NUMBERS = TABLE.replace("TASK", "tabular_regression") + '[training]\nloss = "mse"\n'


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (IMAGES + '[checks]\nmissing = "reject"\n', "checks.missing looks at the columns of a table"),
        (IMAGES + "[checks.ranges]\nx = { min = 0 }\n", "checks.ranges looks at the columns"),
        (NUMBERS + "[checks]\nmin_class_rows = 5\n", "checks.min_class_rows looks at labels"),
        (CLASSES + '[checks]\nout_of_range = "reject"\n', "has nothing to look at"),
        (CLASSES + "[checks.ranges]\nx = {}\n", "has neither min nor max"),
        (CLASSES + "[checks.ranges]\nx = { min = 2, max = 1 }\n", "min 2 above max 1"),
        (CLASSES + "[checks.ranges]\ny = { min = 0 }\n", "'y', which is a label"),
        (CLASSES + "[checks.ranges]\nkind = { min = 0 }\n", "'kind', which is no number"),
        (CLASSES + '[checks]\nleakage = "quarantine"\n', "checks.leakage"),
        (CLASSES + '[checks]\nduplicate = "warn"\n', r"unknown key 'checks.duplicate'.*'duplicates'"),
        (CLASSES + "[checks.ranges]\nx = { minimum = 0 }\n", "minimum"),
    ],
)
def test_a_key_that_would_be_ignored_or_cannot_be_done_is_refused(recipe: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(recipe)


def test_the_range_of_a_number_to_predict_is_taken() -> None:
    recipe = parse_recipe(NUMBERS + '[checks]\nout_of_range = "warn"\n[checks.ranges]\ny = { max = 10 }\n')
    assert recipe.checks.ranges["y"].max == 10

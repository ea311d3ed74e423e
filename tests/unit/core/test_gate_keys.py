"""[evaluation] and [gate]: what a task has no use for is refused with the way out."""

from __future__ import annotations

import pytest

from lehr.contracts.comparison import Slicing
from lehr.contracts.profile import CategoryStatistics, DatasetStatistics, NumberStatistics, ValueCount
from lehr.contracts.recipe import Recipe, parse_recipe
from lehr.contracts.tables import Column
from lehr.errors import RecipeError
from lehr.slicing import needs_statistics, plan_slices, refuse_unknown_columns
from tests import tiny_boxes
from tests.unit.core.test_recipe import MNIST

TABLE = """
[project]
name = "flights"
task = "tabular_classification"
[data]
format = "csv"
files = ["*.csv"]
target = "late"
labels = ["no", "yes"]
[data.columns]
tail = "pii_hash"
hour = "number"
carrier = "category"
"""
REGRESSION = (
    TABLE.replace("classification", "regression").replace('labels = ["no", "yes"]\n', "")
    + '[training]\nloss = "mse"\n'
)


def sliced(rules: str, recipe: str = TABLE) -> Recipe:
    return parse_recipe(f"{recipe}\n[evaluation.slices]\n{rules}\n")


@pytest.mark.parametrize(
    ("recipe", "more", "words"),
    [
        (MNIST, "min_class_iou = 0.5", ["gate.min_class_iou belongs to segmentation", "min_class_recall"]),
        (MNIST, "min_class_ap50 = 0.5", ["belongs to object detection", "min_class_recall"]),
        (tiny_boxes.RECIPE, "max_ece = 0.5", ["gate.max_ece belongs to classifications", "min_class_ap50"]),
        (tiny_boxes.RECIPE, "min_class_recall = 0.5", ["belongs to classifications", "min_class_ap50"]),
        (MNIST, "min_recall = 0.5", ["gate.min_recall", "did you mean 'min_class_recall'?"]),
        (MNIST, "max_latency = 5", ["gate.max_latency", "did you mean 'max_latency_ms'?"]),
        (MNIST, 'evidence = "none"', ["gate.evidence", "none"]),
        (MNIST, "significance = 0.9", ["gate.significance"]),
        (MNIST, "max_ece = nan", ["gate.max_ece"]),
        (MNIST, "min_slice_rows = 5", ["gate.min_slice_rows has no slices", "[evaluation.slices]"]),
        (MNIST, "slices = { label = 0.5 }", ["gate.slices.label is no slice", "[evaluation.slices] first"]),
    ],
)
def test_a_key_of_the_gate_that_means_nothing_is_refused(recipe: str, more: str, words: list[str]) -> None:
    text = (
        recipe.replace("[gate]", f"[gate]\n{more}") if "[gate]" in recipe else f"{recipe}\n[gate]\n{more}\n"
    )
    with pytest.raises(RecipeError) as fault:
        parse_recipe(text)
    assert all(word in str(fault.value) for word in words), str(fault.value)


@pytest.mark.parametrize(
    ("recipe", "rules", "words"),
    [
        (TABLE, "hour = []", ["slices.hour is no list"]),
        (TABLE, 'hour = [1, "a"]', ["slices.hour is no list of texts, or of numbers"]),
        (TABLE, "hour = [6, 3]", ["slices.hour does not rise"]),
        (TABLE, "hour = [3, 3]", ["slices.hour names one twice"]),
        (TABLE, "hour = [nan]", ["slices.hour does not rise"]),
        (TABLE, f"hour = {list(range(21))}", ["names 21", "20 at most"]),
        (TABLE, 'hour = "each"', ["slices.hour is a column of number", '"quartiles"']),
        (TABLE, 'hour = "thirds"', ["slices.hour = 'thirds' is no way to cut", "each, quartiles"]),
        (TABLE, "carrier = [1]", ["slices.carrier is a column of category", '"each"']),
        (TABLE, 'tail = "each"', ['slices.tail is a column that is "pii_hash"']),
        (TABLE, "late = [0.5]", ["slices.late is a label"]),
        (TABLE, 'late = ["yess"]', ["names 'yess', which is no label", "did you mean 'yes'?"]),
        (REGRESSION, 'late = "each"', ["slices.late is a number"]),
        (MNIST, "brightnes = [100]", ["slices.brightnes", "did you mean 'brightness'?"]),
        (MNIST, "loudness = [100]", ["slices.loudness", "label, brightness"]),
        (MNIST, 'brightness = "each"', ["slices.brightness is a number"]),
        (MNIST, 'label = "quartiles"', ["slices.label is a label"]),
        (MNIST, 'label = ["11"]', ["names '11', which is no label"]),
        (tiny_boxes.RECIPE, 'label = "each"', ["slices.label", "brightness, objects"]),
        (tiny_boxes.RECIPE, 'objects = "quartiles"', ['has no "quartiles"']),
        (TABLE, "\n".join(f"c{n} = [1]" for n in range(9)), ["slices has 9 entries", "8 at most"]),
        (TABLE, "hour = [1]\n[gate.slices]\nhours = 0.5", ["gate.slices.hours", "did you mean 'hour'?"]),
        (TABLE, "hour = [1]\n[gate.slices]\nhour = 90", ["gate.slices.hour = 90", "0.9 is 90 %"]),
    ],
)
def test_a_slicing_that_means_nothing_is_refused(recipe: str, rules: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as fault:
        sliced(rules, recipe)
    assert all(word in str(fault.value) for word in words), str(fault.value)


def test_a_floor_of_a_regression_is_in_the_targets_units() -> None:
    assert sliced("hour = [1]\n[gate.slices]\nhour = 90", REGRESSION).gate.slices == {"hour": 90.0}


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("distanc = [1]", ["names 'distanc'", "did you mean 'distance'?"]),
        ("origin = [1]", ["origin is a column of category", '"each"']),
        ('distance = ["near"]', ["distance is a column of number", '"quartiles"']),
    ],
)
def test_columns_are_held_against_the_table_before_anything_is_trained(rules: str, words: list[str]) -> None:
    columns = [Column(name="distance", kind="number"), Column(name="origin", kind="category")]
    with pytest.raises(RecipeError) as fault:
        refuse_unknown_columns(sliced(rules), columns, place="flights.csv")
    assert all(word in str(fault.value) for word in words), str(fault.value)
    refuse_unknown_columns(
        sliced('distance = [1]\norigin = "each"\nlate = "each"'), columns, place="flights.csv"
    )


def test_slices_have_names_in_their_order() -> None:
    assert Slicing(by="hour", edges=[6, 12.5]).names == ["< 6", "6 to 12.5", ">= 12.5", "(missing)"]
    assert Slicing(by="carrier", values=["AA", "UA"]).names == ["AA", "UA", "(other)", "(missing)"]


def test_values_and_quartiles_are_those_of_the_training_rows() -> None:
    def number(name: str, quantiles: list[float]) -> NumberStatistics:
        return NumberStatistics(
            name=name, rows=9, missing=0, mean=0, std=1, min=0, max=1, quantiles=quantiles, histogram=[]
        )

    statistics = DatasetStatistics(
        project="flights",
        format="csv",
        input_shape=[3],
        labels=["no", "yes"],
        rows={},
        class_counts={},
        numbers=[number("hour", [float(n) for n in range(65)]), number("month", [1.0] * 65)],
        categories=[
            CategoryStatistics(
                name="carrier",
                rows=9,
                missing=1,
                distinct=40,
                top=[ValueCount(value=f"c{n}", rows=1) for n in range(20)],
            )
        ],
        determined={},
    )
    recipe = sliced('hour = "quartiles"\nmonth = "quartiles"\ncarrier = "each"\nlate = "each"\nfare = [1, 2]')
    assert needs_statistics(recipe)
    assert plan_slices(recipe, statistics) == [
        Slicing(by="hour", edges=[16, 32, 48]),
        Slicing(by="month", edges=[1]),
        Slicing(by="carrier", values=[f"c{n}" for n in range(20)]),
        Slicing(by="late", values=["no", "yes"]),
        Slicing(by="fare", edges=[1, 2]),
    ]
    assert not needs_statistics(sliced("fare = [1, 2]"))
    assert plan_slices(sliced('carrier = ["b", "a"]'), None) == [Slicing(by="carrier", values=["b", "a"])]

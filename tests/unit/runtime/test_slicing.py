"""Slices: every row is in one slice of each slicing, whatever is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lehr.contracts.comparison import Slicing
from lehr.errors import MismatchedDataError
from lehr_runtime.slicing import cut
from lehr_runtime.tables import Table
from tests import tiny_models, tiny_tables
from tests.unit.functions.test_detections import SIGNATURE as BOXES


def rows_of(slicing: Slicing, x: Any, y: np.ndarray, signature: Any) -> dict[str, list[int]]:
    found = cut([slicing], x, y, signature)
    assert sorted(np.concatenate([one.rows for one in found]).tolist()) == list(range(len(y)))
    assert {one.by for one in found} == {slicing.by}
    return {one.value: one.rows.tolist() for one in found}


NUMBERS = np.array([[1, 6], [2, 5.9], [3, np.nan], [4, 18]], np.float32)
TABLE = Table(NUMBERS, np.array([["best"], [""], ["worst"], ["rare"]], dtype=object))


def test_a_number_of_a_table_is_cut_into_ranges() -> None:
    signature = tiny_tables.signature(["no", "yes"], has_categories=True)
    y = np.zeros(4, np.uint8)
    ranges = rows_of(Slicing(by="hour", edges=[6, 12]), TABLE, y, signature)
    assert ranges == {"< 6": [1], "6 to 12": [0], ">= 12": [3], "(missing)": [2]}
    assert rows_of(Slicing(by="hour"), TABLE, y, signature) == {"(other)": [0, 1, 3], "(missing)": [2]}
    alone = tiny_tables.signature(["no", "yes"], has_categories=False)
    assert rows_of(Slicing(by="km", edges=[2]), NUMBERS, y, alone) == {"< 2": [0], ">= 2": [1, 2, 3]}


def test_a_category_is_cut_by_its_values_and_the_others_are_one_slice() -> None:
    signature = tiny_tables.signature(["no", "yes"], has_categories=True)
    values = rows_of(Slicing(by="class", values=["worst", "best"]), TABLE, np.zeros(4, np.uint8), signature)
    assert values == {"worst": [2], "best": [0], "(other)": [3], "(missing)": [1]}


def test_the_target_cuts_too() -> None:
    labels = tiny_tables.signature(["no", "yes"], has_categories=True)
    y = np.array([1, 0, 1, 1], np.uint8)
    assert rows_of(Slicing(by="price", values=["no", "yes"]), TABLE, y, labels) == {
        "no": [1],
        "yes": [0, 2, 3],
    }
    numbers = tiny_tables.signature([], has_categories=True)
    told = np.array([1, 5, 9, 5], np.float32)
    assert rows_of(Slicing(by="price", edges=[5]), TABLE, told, numbers) == {"< 5": [0], ">= 5": [1, 2, 3]}


def test_images_are_cut_by_label_and_brightness() -> None:
    x = np.array([0, 100, 255], np.uint8)[:, None, None] * np.ones((3, 28, 28), np.uint8)
    y = np.array([3, 0, 3], np.uint8)
    signature = tiny_models.signature()
    assert rows_of(Slicing(by="label", values=["3"]), x, y, signature) == {"3": [0, 2], "(other)": [1]}
    assert rows_of(Slicing(by="brightness", edges=[100]), x, y, signature) == {"< 100": [0], ">= 100": [1, 2]}
    with pytest.raises(MismatchedDataError, match="no loudness"):
        cut([Slicing(by="loudness", edges=[1])], x, y, signature)


def test_images_of_boxes_are_cut_by_how_many_they_have() -> None:
    y = np.full((3, 4, 5), -1, np.float32)
    y[1, :1, 0], y[2, :3, 0] = 0, 1
    x = np.zeros((3, 8, 8), np.uint8)
    found = rows_of(Slicing(by="objects", edges=[1, 3]), x, y, BOXES)
    assert found == {"< 1": [0], "1 to 3": [1], ">= 3": [2]}


def test_a_column_that_is_not_there_is_named() -> None:
    signature = tiny_tables.signature(["no", "yes"], has_categories=True)
    with pytest.raises(MismatchedDataError, match="no column 'month'"):
        cut([Slicing(by="month", edges=[1])], TABLE, np.zeros(4, np.uint8), signature)

"""CSV rows: numbers, strictly, and the place of the first thing that is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr.errors import MalformedDataError
from lehr_runtime.rows import decode_rows


def decode(text: str, shape: list[int], dtype: str = "uint8") -> np.ndarray:
    return decode_rows(text, shape, dtype, max_rows=3)


def test_rows_are_arrays_of_the_shape() -> None:
    found = decode("1,2, 3,4\r\n255,0,7,8\n", [2, 2])
    assert found.dtype == np.uint8
    assert found.tolist() == [[[1, 2], [3, 4]], [[255, 0], [7, 8]]]


@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=5))
def test_an_int16_comes_back_as_it_was(values: list[int]) -> None:
    found = decode(",".join(map(str, values)), [len(values)], "int16")
    assert found.dtype == np.int16
    assert found.tolist() == [values]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_a_float32_comes_back_as_it_was(values: list[float]) -> None:
    found = decode(",".join(map(repr, values)), [len(values)], "float32")
    assert found.dtype == np.float32
    assert found.tolist() == [values]


@pytest.mark.parametrize(
    ("text", "dtype", "place"),
    [
        ("", "uint8", "rows"),
        ("\n1,2", "uint8", "rows[0]"),
        ("1,2\n\n", "uint8", "rows[1]"),
        ("1,2\n3", "uint8", "rows[1]"),
        ("1,2,3", "uint8", "rows[0]"),
        ("1,2\n" * 4, "uint8", "rows"),
        ("a,b\n1,2", "uint8", "rows[0][0]"),
        ("1,256", "uint8", "rows[0][1]"),
        ("1,32768", "int16", "rows[0][1]"),
        ("-32769,1", "int16", "rows[0][0]"),
        ("1,2.0", "int16", "rows[0][1]"),
        ("1,-1", "uint8", "rows[0][1]"),
        ("1,2.0", "uint8", "rows[0][1]"),
        ("1,", "uint8", "rows[0][1]"),
        ('1,"2"', "uint8", "rows[0][1]"),
        ("1;2", "uint8", "rows[0]"),
        ("1,٣", "uint8", "rows[0][1]"),
        ("1,0x1", "uint8", "rows[0][1]"),
        ("1,nan", "float32", "rows[0][1]"),
        ("1,inf", "float32", "rows[0][1]"),
        ("1,1e39", "float32", "rows[0][1]"),
        ("1,1e999", "float32", "rows[0][1]"),
        ("1,1_0", "float32", "rows[0][1]"),
        ("1," + "1" * 65, "float32", "rows[0][1]"),
    ],
)
def test_what_is_no_row_of_numbers_is_refused_with_its_place(text: str, dtype: str, place: str) -> None:
    with pytest.raises(MalformedDataError) as caught:
        decode(text, [2], dtype)
    assert caught.value.place == place

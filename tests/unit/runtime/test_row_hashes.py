"""Hashes of rows: equal content has equal bits wherever it stands, other content has others."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from lehr_runtime.profiles import pixel_sums
from lehr_runtime.row_hashes import array_hashes, mixed


def test_images_have_equal_hashes_exactly_where_their_bytes_are_equal() -> None:
    images = np.random.default_rng(0).integers(0, 2, (9000, 2, 4), dtype=np.uint8)
    hashes = array_hashes(images)
    by_bytes = {image.tobytes(): int(bits) for image, bits in zip(images, hashes, strict=True)}
    assert len(set(hashes.tolist())) == len(by_bytes)
    assert [by_bytes[image.tobytes()] for image in images] == hashes.tolist()
    assert np.array_equal(array_hashes(images[::-1]), hashes[::-1])


def test_one_bit_of_a_row_changes_about_half_of_the_bits_of_its_hash() -> None:
    images = np.zeros((65, 8), dtype=np.uint8)
    for bit in range(64):
        images[bit + 1, bit // 8] = 1 << bit % 8
    hashes = array_hashes(images)
    changed = [bin(int(one ^ hashes[0])).count("1") for one in hashes[1:]]
    assert 28 < np.mean(changed) < 36
    assert min(changed) > 12


@pytest.mark.parametrize("work", [array_hashes, pixel_sums])
def test_large_rows_take_little_memory_beside_them(work: Callable[[np.ndarray], object]) -> None:
    photographs = np.random.default_rng(0).integers(0, 256, (300, 160, 160, 3), dtype=np.uint8)
    tracemalloc.start()
    work(photographs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < photographs.nbytes / 2


@pytest.mark.parametrize("width", [1, 7, 8, 4095, 4096, 4097, 9001])
def test_a_row_of_any_width_has_the_hash_of_its_padded_words(width: int) -> None:
    rows = np.random.default_rng(width).integers(0, 256, (3, width), dtype=np.uint8)
    state = np.zeros(3, dtype=np.uint64)
    for column in np.pad(rows, ((0, 0), (0, -width % 8))).view(np.uint64).T:
        state = mixed(state, column)
    assert np.array_equal(array_hashes(rows), state)

"""Units of many files: which files are together is a matter of their names, so most stay together when others come."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from functions.start_run.file_cuts import cut_files
from lehr.contracts.file_units import FileExample, StoredFile


def example(key: str) -> FileExample:
    return FileExample(file=StoredFile(key=key, etag="e", bytes=1), label=0)


def cut(keys: list[str], most: int, seed: int = 1) -> list[tuple[str, ...]]:
    return [tuple(one.file.key for one in unit) for unit in cut_files([*map(example, keys)], most, seed)]


names = st.text(st.sampled_from("ab/019._é"), min_size=1, max_size=12)


@given(st.lists(names, unique=True, max_size=300), st.integers(1, 120), st.randoms())
@settings(max_examples=60, deadline=None)
def test_every_file_is_in_one_unit_that_is_neither_too_large_nor_small(
    keys: list[str], most: int, shuffle: random.Random
) -> None:
    units = cut(keys, most)
    assert sorted(key for unit in units for key in unit) == sorted(keys)
    assert all(len(unit) <= most for unit in units)
    if len(units) > 1:
        assert all(len(unit) >= most * 4 // 5 // 4 for unit in units)
    shuffle.shuffle(keys)
    assert cut(keys, most) == units


FOLDERS = [f"{label}/{label}_{number}.png" for label in ("cat", "dog", "eel") for number in range(4000)]
MOST = 1000


def test_a_file_more_or_less_changes_the_unit_that_it_is_in_and_seldom_a_few() -> None:
    before, draw = set(cut(FOLDERS, MOST)), random.Random(3)
    assert len(before) > 20
    changed = []
    for key in draw.sample(FOLDERS, 12):
        for others in ([*FOLDERS, f"{key}.png"], [one for one in FOLDERS if one != key]):
            changed.append(len(before - set(cut(others, MOST))))
    assert changed.count(1) >= 18
    assert max(changed) <= 6


def test_of_a_percent_more_at_the_end_of_a_folder_most_units_know_nothing() -> None:
    before = set(cut(FOLDERS, MOST))
    after = set(cut([*FOLDERS, *(f"eel/eel_{number}.png" for number in range(4000, 4120))], MOST))
    assert len(before & after) >= 0.7 * len(before)


def test_names_that_are_no_series_are_spread_over_all_units() -> None:
    """The control: of a percent of random names hardly a unit of hundreds is without one."""
    draw = random.Random(1)
    keys = [f"{draw.getrandbits(64):016x}.png" for _ in range(12_120)]
    assert len(set(cut(keys[:12_000], MOST)) & set(cut(keys, MOST))) <= 1


def test_another_seed_draws_another_order() -> None:
    assert cut(FOLDERS[:1000], 5000, seed=1) != cut(FOLDERS[:1000], 5000, seed=2)

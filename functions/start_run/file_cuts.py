"""Many files as units of work whose borders are a matter of the files' own names.

What is added to a folder or taken away changes the units that it falls into, and leaves the others, whose shards are
then those of the version before. So no border is counted from the first file on: as in content-defined chunking (A.
Muthitacharoen et al., "A low-bandwidth network file system", 2001, section 3.1, there of bytes), a border is where the
hash of a name falls under a threshold, with a least and a greatest length.

Names that follow each other belong together, since files are added a series at a time; but they often have one label,
and a unit of one label tells little (its profile, the rows that prove a model). Therefore two steps: names in their
order are cut into runs, and the runs, in an order that is drawn, are joined to units of 16 runs each, on average.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from lehr.contracts.file_units import FileExample

T = TypeVar("T")
# Of the greatest length, in a unit of the greatest size. Both are half of that on average, so a unit has as many too.
_RUNS_PER_UNIT = 16
_DIGITS = re.compile(r"(\d+)")


def cut_files(examples: Sequence[FileExample], most: int, seed: int) -> list[list[FileExample]]:
    """Units of a fifth of `most` files to `most`, and of fewer if there are fewer; each in the order that is drawn.

    Which files a unit has is a function of the files' keys and the seed, whatever the order of `examples`.
    """
    if len(examples) <= most:
        return [sorted(examples, key=lambda one: draw(seed, one.file.key))] if examples else []
    # The last unit may be too small to be one, and goes to the one before it.
    largest = max(1, most * 4 // 5)
    by_name = sorted(examples, key=lambda one: _natural(one.file.key))
    longest = max(1, largest // _RUNS_PER_UNIT)
    runs = list(_cut(by_name, longest, 1, name=lambda one: one.file.key, size=lambda one: 1))
    drawn = sorted(runs, key=lambda run: draw(seed, run[0].file.key))
    units = list(_cut(drawn, largest, longest / 2, name=lambda run: f"unit {run[0].file.key}", size=len))
    joined = [[one for run in unit for one in run] for unit in units]
    if len(joined) > 1 and len(joined[-1]) < largest // 4:
        joined[-2:] = [joined[-2] + joined[-1]]
    return [sorted(unit, key=lambda one: draw(seed, one.file.key)) for unit in joined]


def draw(seed: int, key: str) -> bytes:
    """What orders examples: a drawing of its own for each, so that none moves past another when data is added."""
    return hashlib.blake2b(f"{seed} {key}".encode(), digest_size=16).digest()


def _cut(
    items: Sequence[T], most: int, usual: float, *, name: Callable[[T], str], size: Callable[[T], int]
) -> Iterator[list[T]]:
    """Pieces of sizes from a quarter of `most` to `most`, half of it on average; the last may be smaller.

    `usual` is the size of most items, each of which is no larger than `most`.
    """
    threshold = min(1.0, usual / (most / 4)) * 2.0**64
    piece: list[T] = []
    held = 0
    for item in items:
        count = size(item)
        is_border = held >= most / 4 and _hash(name(item)) < threshold
        if piece and (is_border or held + count > most):
            yield piece
            piece, held = [], 0
        piece.append(item)
        held += count
    yield piece


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8, person=b"border").digest())


def _natural(key: str) -> list[tuple[int, str]]:
    """9.png before 10.png, so that a series that goes on goes on at its end."""
    parts = _DIGITS.split(key)
    return [(int(part), part) if place % 2 else (0, part) for place, part in enumerate(parts)]

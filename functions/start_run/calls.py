"""The units of a plan as calls of a function: how many are prepared by one call, one after the other.

A unit is bounded by the memory of the function, so it may be a matter of a second or two, and then a call for each is
mostly its own start and its transitions of the state machine. What a call takes on is therefore measured in estimated
seconds. Which units share a call changes nothing of what they write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from lehr.contracts.dataset import PrepareUnit
from lehr.contracts.file_units import FileList, PrepareFilesUnit
from lehr.contracts.prepare_calls import PrepareCall
from lehr.contracts.table_units import PrepareTableUnit

# A call should be worth its start, which is about two seconds, and not be a long time to repeat if it is lost.
SECONDS_PER_CALL = 30.0
# The default of ShardConcurrency: less work than that many calls' is spread over as many, however short they become.
CALLS_AT_ONCE = 8
# Of the file, one core: what benchmarks/prepare.py calls "prepare", of tables the slower of its two
# (benchmarks/results/prepare-2026-11-27.json).
TABLE_BYTES_PER_S = {"csv": 35e6, "jsonl": 38e6, "parquet": 13e6}
PIXEL_BYTES_PER_S = 160e6
# JPEGs of 640 x 480 pixels to 224 x 224, as benchmarks/prepare_at_size.py has them; ten requests at once of 30 ms each.
FILE_BYTES_PER_S = 20e6
FILES_PER_S = 330.0
# Of a unit: the requests for what it reads and writes, one after the other.
SECONDS_PER_UNIT = 0.3


def seconds_of_tables(units: Sequence[PrepareTableUnit]) -> list[float]:
    """Of each unit; parts of a Parquet file are taken to be equal."""
    units_of = Counter(unit.file.key for unit in units)
    seconds = []
    for unit in units:
        is_range = unit.format != "parquet" and unit.count
        size = unit.count if is_range else unit.file.bytes / units_of[unit.file.key]
        seconds.append(SECONDS_PER_UNIT + size / TABLE_BYTES_PER_S[unit.format])
    return seconds


def seconds_of_files(lists: Sequence[FileList]) -> list[float]:
    """Of the unit of each list."""
    return [
        SECONDS_PER_UNIT
        + len(one.examples) / FILES_PER_S
        + sum(example.file.bytes for example in one.examples) / FILE_BYTES_PER_S
        for one in lists
    ]


def seconds_of_pairs(units: Sequence[PrepareUnit]) -> list[float]:
    """Of each unit, which decodes the whole file for its rows."""
    return [SECONDS_PER_UNIT + (unit.images.bytes + unit.labels.bytes) / PIXEL_BYTES_PER_S for unit in units]


def plan_calls(
    units: Sequence[PrepareUnit] | Sequence[PrepareTableUnit] | Sequence[PrepareFilesUnit],
    seconds: Sequence[float],
) -> list[PrepareCall]:
    """Calls for all units, in their order; none if each is a call of its own."""
    shares = list(share_out(seconds))
    if len(shares) == len(units):
        return []
    project, run = units[0].project, units[0].run
    return [PrepareCall(project=project, run=run, first=first, count=count) for first, count in shares]


def share_out(seconds: Sequence[float]) -> Iterator[tuple[int, int]]:
    """(first, count) of each share: CALLS_AT_ONCE of about the same time, or more of about SECONDS_PER_CALL."""
    total = sum(seconds)
    wanted = min(len(seconds), max(CALLS_AT_ONCE, round(total / SECONDS_PER_CALL)))
    firsts, before, share = [], 0.0, -1
    for unit, own in enumerate(seconds):
        # By its middle, so that no share is more than half a unit off.
        mine = int((before + own / 2) / total * wanted)
        if mine != share:
            firsts.append(unit)
            share = mine
        before += own
    for first, end in pairwise([*firsts, len(seconds)]):
        yield first, end - first

"""The checks over single rows: what all units have seen, held against one another, and rows set aside for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from functions.seal_dataset.kept_rows import keep_rows
from functions.seal_dataset.reading import read_all
from functions.seal_dataset.same_rows import (
    MAX_ROWS_COMPARED,
    SPLITS,
    Origins,
    R,
    Twins,
    Unit,
    find_duplicates,
    find_overlap,
    parts_of,
    read_origins,
)
from lehr import layout
from lehr.contracts.data_checks import CheckName, CheckResult
from lehr.contracts.data_tables import Checks
from lehr.contracts.dataset import UnitResult
from lehr.contracts.profile import UnitProfile
from lehr.contracts.table_units import TableUnitResult
from lehr.data_checks import counted, not_checked, result_of
from lehr.errors import RejectedDataError
from lehr.ports import ObjectStore

MAX_SET_ASIDE_FRACTION = 0.5
MAX_LISTED = 10_000
_REQUIRED: dict[CheckName, str] = {
    "overlap": "no row of the test in training or validation",
    "duplicates": "no row twice in a split",
}


@dataclass(frozen=True, kw_only=True)
class Screened:
    """What was found, and how many rows were set aside. Without profiles nothing was checked."""

    profiles: list[UnitProfile] | None
    findings: list[CheckResult]
    set_aside: int = 0


class SetAside(msgspec.Struct, frozen=True):
    """A line of the quarantine: `line` counts from 1 in a file of text and images from 0, and is 0 of a file itself."""

    file: str
    line: int
    reason: str


def screen(
    checks: Checks, plan: Sequence[Unit], results: list[R], artifacts: ObjectStore
) -> tuple[list[R], Screened]:
    """Look for rows that are there twice and set aside what [checks] says; returns the units as they go on.

    Raises RejectedDataError if that is most of the training rows: it is not data with a flaw, but the wrong data.
    """
    profiles = _profiles(plan, results, artifacts)
    origins = read_origins(plan, results, artifacts) if profiles is not None else None
    if profiles is None or origins is None:
        why = "the rows of this kind of data are not compared"
        return results, Screened(profiles=_flat(profiles), findings=_none_checked(why))
    if sum(len(one.hashes) for one in origins) > MAX_ROWS_COMPARED:
        why = f"more than {MAX_ROWS_COMPARED:,} rows are not compared"
        return results, Screened(profiles=_flat(profiles), findings=_none_checked(why))
    is_kept = np.ones(sum(len(one.hashes) for one in origins), dtype=bool)
    findings: list[CheckResult] = []
    lines: list[SetAside] = []
    total = 0
    searches: list[tuple[CheckName, str, Callable[[Sequence[Origins]], Twins]]] = [
        ("overlap", checks.overlap, find_overlap),
        ("duplicates", checks.duplicates, find_duplicates),
    ]
    for check, policy, find in searches:
        twins = find(origins)
        twins = twins[is_kept[twins.places(origins)]]
        findings.append(_finding(check, policy, twins, origins))
        if policy != "quarantine":
            continue
        total += len(twins)
        lines += _lines(twins[: MAX_LISTED - len(lines)], origins)
        is_kept[twins.places(origins)] = False
    if not total:
        return results, Screened(profiles=_flat(profiles), findings=findings)
    artifacts.put(
        layout.set_aside_key(plan[0].project, plan[0].run),
        b"".join(msgspec.json.encode(line) + b"\n" for line in lines),
    )
    kept = np.split(is_kept, np.cumsum([len(one.hashes) for one in origins])[:-1])
    _refuse_most(origins, kept, findings)
    together = [
        (result, own) if mask.all() else keep_rows(unit, result, own, mask, artifacts)
        for unit, result, own, mask in zip(plan, results, profiles, kept, strict=True)
    ]
    screened = Screened(profiles=_flat([own for _, own in together]), findings=findings, set_aside=total)
    return [result for result, _ in together], screened


def _profiles(
    plan: Sequence[Unit], results: Sequence[UnitResult | TableUnitResult], artifacts: ObjectStore
) -> list[list[UnitProfile]] | None:
    """Of each unit, one for each call that it took; None if one wrote none, as units of data without statistics do."""
    try:
        return read_all(lambda pair: _profiles_of(*pair, artifacts), list(zip(plan, results, strict=True)))
    except KeyError:
        return None


def _profiles_of(
    unit: Unit, result: UnitResult | TableUnitResult, artifacts: ObjectStore
) -> list[UnitProfile]:
    keys = [layout.unit_profile_key(unit.project, unit.run, unit.index, part) for part in parts_of(result)]
    return [UnitProfile.from_json(artifacts.get(key)) for key in keys]


def _flat(profiles: Sequence[Sequence[UnitProfile]] | None) -> list[UnitProfile] | None:
    return None if profiles is None else [profile for own in profiles for profile in own]


def _none_checked(why: str) -> list[CheckResult]:
    return [not_checked(check, why, required=required) for check, required in _REQUIRED.items()]


def _finding(check: CheckName, policy: str, twins: Twins, origins: Sequence[Origins]) -> CheckResult:
    splits = np.concatenate([one.splits for one in origins])
    sizes = np.bincount(splits[twins.places(origins)], minlength=len(SPLITS)).tolist()
    counts = dict(zip(SPLITS, sizes, strict=True))
    observed = ", ".join(f"{counted(counts[split], 'row')} of {split}" for split in SPLITS if counts[split])
    few = twins[:3]
    named = [_named(origins[unit], row) for unit, row in zip(few.units, few.rows, strict=True)]
    told = [f"{name}: {line.reason}" for name, line in zip(named, _lines(few, origins), strict=True)]
    if len(twins) > len(told):
        told.append(f"and {len(twins) - len(told):,} more")
    return result_of(check, policy, told, required=_REQUIRED[check], observed=observed or "none")


def _lines(twins: Twins, origins: Sequence[Origins]) -> list[SetAside]:
    lines = []
    columns = (twins.units, twins.rows, twins.first_units, twins.first_rows)
    for unit, row, first_unit, first_row in zip(*(column.tolist() for column in columns), strict=True):
        here, first = origins[unit], origins[first_unit]
        split = SPLITS[int(first.splits[first_row])]
        reason = f"the same as {_named(first, first_row)}, which is in the {split} split"
        lines.append(SetAside(*_place(here, row), reason))
    return lines


def _place(one: Origins, row: int) -> tuple[str, int]:
    """File and line of a row; a file that is a row itself has no lines."""
    line = int(one.lines[row])
    return (one.file, line) if one.file else (one.names()[line], 0)


def _named(one: Origins, row: int) -> str:
    file, line = _place(one, row)
    return f"{file} {line}" if one.file else file


def _refuse_most(
    origins: Sequence[Origins], kept: Sequence[np.ndarray], findings: Sequence[CheckResult]
) -> None:
    training = sum(int(np.count_nonzero(one.splits == 0)) for one in origins)
    left = sum(
        int(np.count_nonzero(mask & (one.splits == 0))) for one, mask in zip(origins, kept, strict=True)
    )
    if left < (1 - MAX_SET_ASIDE_FRACTION) * training:
        reasons = "; ".join(
            f"{one.check}: {one.observed} ({one.details[0]})"
            for one in findings
            if one.verdict == "quarantined"
        )
        raise RejectedDataError(
            f"{training - left:,} of {training:,} training rows would be set aside: {reasons}",
            hint="are the test's files among those of training? If rows are alike by nature, say overlap or "
            'duplicates = "warn" in [checks]',
        )

"""The checks of [checks] that statistics answer; those over single rows are SealDataset's.

Each is always reported, also when it passed. A policy says what a failure means, never whether it is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lehr.contracts.data_checks import CheckName, CheckResult, Verdict
from lehr.contracts.data_rules import TABLES
from lehr.contracts.data_tables import Checks
from lehr.contracts.profile import DatasetStatistics
from lehr.dataset_difference import label_changes, label_drift, schema_changes
from lehr.errors import RejectedDataError

MAX_DETAILS = 10
_VERDICTS: dict[str, Verdict] = {"reject": "rejected", "quarantine": "quarantined", "warn": "warned"}


def check_statistics(
    checks: Checks,
    statistics: DatasetStatistics,
    *,
    out_of_range: Mapping[str, int],
    champion: DatasetStatistics | None,
) -> list[CheckResult]:
    """All of them; `champion` are the statistics of the data that the champion was trained on, if there is one."""
    return [
        *_columns(checks, statistics, out_of_range),
        *_labels(checks, statistics),
        *_drift(checks, statistics, champion),
    ]


def result_of(
    check: CheckName, policy: str, failures: Sequence[str], *, required: str, observed: str
) -> CheckResult:
    """Failed if there is any failure, a line each, of which the first are kept."""
    more = len(failures) - MAX_DETAILS
    return CheckResult(
        check=check,
        verdict=_VERDICTS[policy] if failures else "passed",
        required=required,
        observed=observed,
        details=[*failures[:MAX_DETAILS], *([f"and {more} more"] if more > 0 else [])],
    )


def counted(count: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def not_checked(check: CheckName, why: str, *, required: str) -> CheckResult:
    """A check that could not be made, which is neither a pass nor a failure."""
    return CheckResult(check=check, verdict="not_checked", required=required, observed=why)


def refuse_rejected(results: Sequence[CheckResult], *, place: str) -> None:
    """Raise RejectedDataError that tells every check that was failed and whose policy is "reject"."""
    rejected = [one for one in results if one.verdict == "rejected"]
    if rejected:
        raise RejectedDataError(
            "; ".join(
                f"{one.check}: {one.observed}" + (f" ({one.details[0]})" if one.details else "")
                for one in rejected
            ),
            place=place,
            hint=f'put the data right, or say {rejected[0].check} = "warn" in [checks]',
        )


def _columns(
    checks: Checks, statistics: DatasetStatistics, out_of_range: Mapping[str, int]
) -> Iterator[CheckResult]:
    if statistics.format in TABLES:
        shares = {one.name: _missing_share(one.rows, one.missing) for one in statistics.numbers}
        shares |= {one.name: _missing_share(one.rows, one.missing) for one in statistics.categories}
        worst = max(shares, key=lambda name: shares[name])
        yield result_of(
            "missing",
            checks.missing,
            [
                f"{name}: {share:.1%} of the training rows have none"
                for name, share in shares.items()
                if share > checks.max_missing_fraction
            ],
            required=f"at most {checks.max_missing_fraction:.4g} of a column",
            observed=f"at most {shares[worst]:.1%}" + (f", of {worst}" if shares[worst] else ""),
        )
    if checks.ranges:
        yield result_of(
            "out_of_range",
            checks.out_of_range,
            [f"{name}: {counted(count, 'value')}" for name, count in out_of_range.items()],
            required=f"{counted(len(checks.ranges), 'column')} within [checks.ranges]",
            observed=f"{counted(sum(out_of_range.values()), 'value')} outside",
        )
    constant = [
        *(one.name for one in statistics.numbers if one.rows and one.min == one.max and not one.missing),
        *(one.name for one in statistics.categories if one.distinct == 1 and not one.missing),
    ]
    yield result_of(
        "constant",
        checks.constant,
        [f"{name}: one value in all training rows" for name in constant],
        required="no column of one value",
        observed=counted(len(constant), "column"),
    )
    telling = {name: one for name, one in statistics.determined.items() if one > checks.max_leakage}
    most = max(statistics.determined, key=lambda name: statistics.determined[name], default="")
    yield result_of(
        "leakage",
        checks.leakage,
        [
            f"{name} alone tells {one:.1%} of the target: is it known when a prediction is asked for?"
            for name, one in telling.items()
        ],
        required=f"no column alone tells more than {checks.max_leakage:.4g} of the target",
        observed=f"at most {statistics.determined[most]:.1%}, {most}" if most else "no columns",
    )


def _missing_share(rows: int, missing: int) -> float:
    return missing / max(rows + missing, 1)


def _labels(checks: Checks, statistics: DatasetStatistics) -> Iterator[CheckResult]:
    counts = dict(zip(statistics.labels, statistics.class_counts.get("train", []), strict=False))
    rows = statistics.rows.get("train", 0)
    if counts:
        even = rows / len(counts)
        rarest = min(counts, key=lambda label: counts[label])
        yield result_of(
            "balance",
            checks.balance,
            [
                f"{label}: {count:,} of {rows:,} training rows, {count / even:.1%} of an even share"
                for label, count in counts.items()
                if count < checks.min_class_fraction * even
            ],
            required=f"each label has at least {checks.min_class_fraction:.4g} of an even share",
            observed=f"{counts[rarest] / even:.1%} of it, {rarest}",
        )
    short = [f"{rows:,} training rows"] if rows < checks.min_rows else []
    few = [
        f"{label}: {count:,} training rows"
        for label, count in counts.items()
        if count < checks.min_class_rows
    ]
    each = f", {checks.min_class_rows:,} of each label" if counts else ""
    yield result_of(
        "size",
        checks.size,
        [*short, *few],
        required=f"at least {checks.min_rows:,} training rows{each}",
        observed=f"{rows:,}" + (f", at least {min(counts.values()):,} of each" if counts else ""),
    )


def _drift(
    checks: Checks, statistics: DatasetStatistics, champion: DatasetStatistics | None
) -> Iterator[CheckResult]:
    same, near = (
        "the schema of the champion's data",
        f"labels within {checks.max_label_drift:.4g} of the champion's",
    )
    if champion is None:
        yield not_checked("schema_drift", "there is no champion's data to compare with", required=same)
        yield not_checked("label_drift", "there is no champion's data to compare with", required=near)
        return
    changes = schema_changes(champion, statistics)
    yield result_of(
        "schema_drift",
        checks.schema_drift,
        [f"{one.name}: {one.old}, now {one.new}" for one in changes],
        required=same,
        observed=counted(len(changes), "difference"),
    )
    drift = label_drift(champion, statistics)
    moved = [
        f"{one.name}: {one.old}, now {one.new} {one.note}" for one in label_changes(champion, statistics)
    ]
    yield result_of(
        "label_drift",
        checks.label_drift,
        (moved or [f"{drift:.4g}"]) if drift > checks.max_label_drift else [],
        required=near,
        observed=f"{drift:.4g}",
    )

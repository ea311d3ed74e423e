"""What the parts of every task are put together by: those that were planned, the figures of serving, the slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np

from lehr import layout
from lehr.contracts.comparison import ModelTiming, ServingFigures, ShardPart, SliceReport, Slicing
from lehr.contracts.evaluation import EvaluateUnit
from lehr.contracts.workflow import JudgeRequest
from lehr.errors import MismatchedDataError, MissingDataError
from lehr.ports import ObjectStore

P = TypeVar("P", bound=ShardPart)
C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)
S = TypeVar("S", bound="CountedSlice[Any]")


class CountedSlice(Protocol[C_co]):
    """A slice as a shard has it, whatever is counted."""

    @property
    def by(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def candidate(self) -> C_co: ...
    @property
    def champion(self) -> C_co | None: ...


def read_plan(request: JudgeRequest, artifacts: ObjectStore) -> list[EvaluateUnit]:
    """The units of evaluation, one for each test shard."""
    key = layout.evaluation_plan_key(request.project, request.run, request.candidate, request.champion)
    return msgspec.json.decode(artifacts.get(key), type=list[EvaluateUnit])


def read_parts(
    request: JudgeRequest, plan: Sequence[EvaluateUnit], artifacts: ObjectStore, kind: type[P]
) -> list[P]:
    """What the units wrote, in their order.

    Raises MissingDataError if one was never written, MismatchedDataError for one of other rows or models than planned.
    """
    pairing = (request.project, request.run, request.candidate, request.champion)
    parts = []
    for unit in plan:
        key = layout.evaluation_part_key(*pairing, unit.index)
        try:
            part = kind.from_json(artifacts.get(key))
        except KeyError as fault:
            raise MissingDataError(
                f"the evaluation of shard {unit.index + 1} of {unit.of} was never written",
                place=artifacts.uri(key),
            ) from fault
        _refuse_another(part, unit, request, place=artifacts.uri(key))
        parts.append(part)
    return parts


def _refuse_another(part: ShardPart, unit: EvaluateUnit, request: JudgeRequest, *, place: str) -> None:
    """Raises MismatchedDataError unless a part is what was planned, and that what is judged."""
    told = {
        "shard": (part.index, unit.index),
        "set of rows": (part.shard_sha256, unit.shard.sha256),
        "candidate": ({part.candidate_version, unit.candidate}, {request.candidate}),
        "champion": ({part.champion_version, unit.champion}, {request.champion}),
    }
    others = [name for name, (found, wanted) in told.items() if found != wanted]
    if others:
        raise MismatchedDataError(
            f"is the evaluation of another {' and of another '.join(others)} than shard {unit.index + 1} of {unit.of} "
            "was planned with",
            place=place,
            hint="resume the run: it is evaluated again",
        )


def head(request: JudgeRequest, parts: Sequence[ShardPart]) -> dict[str, Any]:
    """The fields that the reports of all tasks have."""
    return {
        "project": request.project,
        "run": request.run,
        "dataset_version": request.dataset_version,
        "candidate_version": request.candidate,
        "champion_version": request.champion,
        "candidate_serving": serving_figures(part.candidate_timing for part in parts),
        "champion_serving": serving_figures(part.champion_timing for part in parts),
    }


def serving_figures(timings: Iterable[ModelTiming | None]) -> ServingFigures | None:
    """Quantiles over the predictions of all shards; None where none was timed."""
    known = [timing for timing in timings if timing and timing.milliseconds]
    if not known:
        return None
    taken = np.concatenate([timing.milliseconds for timing in known])
    return ServingFigures(
        predictions=len(taken),
        median_ms=float(np.median(taken)),
        p99_ms=float(np.quantile(taken, 0.99, method="higher")),
        package_bytes=known[0].package_bytes,
    )


def slice_reports(
    slicings: Sequence[Slicing],
    cuts: Iterable[S],
    merge: Callable[[Iterable[C]], C],
    summarise: Callable[[C], dict[str, float]],
    rows: Callable[[C], int],
    p_loss: Callable[[list[S]], float | None],
) -> list[SliceReport]:
    """The slices of all shards together, in the order of the plan; those without rows are left out."""
    found: dict[tuple[str, str], list[S]] = {}
    for one in cuts:
        found.setdefault((one.by, one.value), []).append(one)
    reports = []
    for slicing in slicings:
        for value in slicing.names:
            same = found.get((slicing.by, value))
            if not same:
                continue
            own = merge(one.candidate for one in same)
            figures = summarise(own)
            others = [one.champion for one in same if one.champion is not None]
            reports.append(
                SliceReport(
                    by=slicing.by,
                    value=value,
                    rows=rows(own),
                    measures=list(figures),
                    candidate=figures,
                    champion=summarise(merge(others)) if others else None,
                    p_loss=p_loss(same),
                )
            )
    return reports

"""What became of each model version of a project: how it stands, in SageMaker's three words, and why.

Approved are the champion and those that it replaced; rejected what the gate, a person or a bake refused, and what a
rollback has left. So the newest version that is approved is always the champion, whatever was rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lehr.contracts.approval import ApprovalStatus
from lehr.contracts.registry import Alias, ErasureRecord, ModelRecord, RunRecord


@dataclass(frozen=True)
class Standing:
    """`run` is the one that the version was last judged in, or made by."""

    status: ApprovalStatus
    reason: str
    run: RunRecord | None = None
    is_champion: bool = False
    is_erased: bool = False


def standings(
    models: Iterable[ModelRecord],
    runs: Sequence[RunRecord],
    history: Sequence[Alias],
    erasures: Iterable[ErasureRecord],
) -> dict[str, Standing]:
    """How each of `models` stands; `runs` and `history` begin with the latest."""
    by_run = {run.run: run for run in runs}
    judged = {run.model_version: run for run in reversed(runs) if run.model_version}
    erased = {version for erasure in erasures for version in erasure.models}
    served = _served(history[::-1], judged)
    found = {}
    for record in models:
        run = judged.get(record.version) or by_run.get(record.run)
        if record.version in erased:
            found[record.version] = Standing("Rejected", "deleted for good", run, is_erased=True)
        elif record.version in served:
            status, reason = served[record.version]
            found[record.version] = Standing(
                status, reason, run, is_champion=record.version == history[0].champion
            )
        elif run and run.status == "rejected":
            found[record.version] = Standing("Rejected", run.reason, run)
        else:
            found[record.version] = Standing("PendingManualApproval", "", run)
    return found


def _served(moves: Sequence[Alias], judged: Mapping[str, RunRecord]) -> dict[str, tuple[ApprovalStatus, str]]:
    """Status and reason of all that serve or have served, from the moves of the alias, the first one first."""
    said: dict[str, tuple[ApprovalStatus, str]] = {}
    for move in moves:
        if move.kind not in ("promotion", "rollback"):
            continue
        champion, previous = move.champion, move.previous
        if previous and previous not in said:  # a champion of before the history began
            said[previous] = ("Approved", "promoted")
        if move.kind == "promotion":
            run = judged.get(champion)
            why = f"promoted: {run.reason}" if run and run.status == "promoted" else "promoted"
            said[champion] = ("Approved", why)
            continue
        because = (f" by {move.by}" if move.by else "") + (f": {move.reason}" if move.reason else "")
        order = list(said)  # in which they served first
        for later in order[order.index(champion) + 1 :] if champion in said else order:
            said[later] = ("Rejected", f"left by a rollback to {champion}{because}")
        said[champion] = ("Approved", f"rolled back to{because}")
    return said

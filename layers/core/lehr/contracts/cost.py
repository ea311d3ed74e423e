"""What a run may cost, said before it, and what it has cost, said after: `cost.json` of a run.

Every figure carries the date and the region of its prices. None means not known, never nothing.
"""

from __future__ import annotations

from typing import Literal

from lehr.contracts.document import Document, Part


class AttemptEstimate(Part, frozen=True, kw_only=True):
    """One way to get a trial trained, at the dearest instance type that it may take. Spot prices are an assumption."""

    backend: str
    spot: bool
    instance_type: str
    hour_usd: float
    keep_alive_s: int


class RunEstimate(Document, frozen=True, kw_only=True):
    """The worst case of a run: every trial trains until its limit, every function until its timeout.

    Every attempt counts in full: a trial may lose its spare capacity at the last moment and begin again on the
    next, and nobody may come for a warm pool. `trials` counts a trial once for each rung of successive halving.
    `shards` is the number of prepared units that the functions' share was worked out with.
    """

    schema: Literal[1] = 1
    project: str
    trials: int
    attempts: list[AttemptEstimate]
    instance_count: int
    max_runtime_s: int
    shards: int
    trial_usd: float
    training_usd: float
    warm_pool_usd: float
    functions_usd: float
    total_usd: float
    currency: Literal["USD"] = "USD"
    price_date: str
    price_region: str


class TrialCost(Part, frozen=True, kw_only=True):
    """A training job of a trial. Spot capacity shows as fewer `billable_seconds`, at the same price.

    `is_whole` is False if its cost is not known, or that of attempts before it.
    """

    trial: str
    job: str
    instance_type: str
    instance_count: int
    seconds: int | None
    billable_seconds: int | None
    usd: float | None
    is_whole: bool


class RunCost(Document, frozen=True, kw_only=True):
    """`cost.json`: training as billed, at list prices; functions as estimated.

    `is_complete` is False if a trial, an attempt at one, a warm pool or a price is not known: the total is then a lower
    bound.
    """

    schema: Literal[1] = 1
    project: str
    run: str
    trials: list[TrialCost]
    training_usd: float
    functions_usd: float
    total_usd: float
    is_complete: bool
    currency: Literal["USD"] = "USD"
    price_date: str
    price_region: str

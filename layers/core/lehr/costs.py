"""What a run has cost, from its billable seconds; before it there is its worst case (`lehr.estimates`).

Training is nearly all of it. The functions are counted by what the template gives them (memory and timeout; a test
compares) for the worst case, and by assumed times for the cost after a run, since nobody reads their bills.
Transitions, requests and storage are thousandths of a cent for a run and left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from lehr import layout
from lehr.contracts.cost import RunCost, TrialCost
from lehr.contracts.registry import RunRecord
from lehr.contracts.workflow import TrialResult
from lehr.errors import UnknownPriceError
from lehr.function_types import memory_of
from lehr.ports import ModelRegistry, ObjectStore
from lehr.prices import PriceTable

# Memory in GB and timeout in seconds: of a function called for each shard, and of those called once in a run.
SHARD_FUNCTIONS = {"prepare_shard": (2.0, 900), "evaluate_shard": (2.0, 900)}
RUN_FUNCTIONS = {
    "start_run": (0.5, 60),
    "seal_dataset": (2.0, 300),
    "publish_trainer": (1.0, 120),
    "propose_trials": (1.0, 600),
    "package_model": (2.9375, 300),
    "judge_model": (1.0, 120),
    "await_approval": (0.25, 30),
    "promote_model": (1769 / 1024, 120),
    "write_report": (0.5, 60),
}
# Called again and again while a candidate bakes.
CANARY_FUNCTIONS = {"watch_canary": (0.25, 60)}
# After a run: a call is taken to have used this share of its timeout.
ASSUMED_SHARE = 0.02
# A cause that the state machine has cut is no JSON any more; its fields can still be found.
_BILLABLE = re.compile(r'"BillableTimeInSeconds"\s*:\s*(\d+)')
_SECONDS = re.compile(r'"TrainingTimeInSeconds"\s*:\s*(\d+)')

_ATTEMPT = re.compile(r"-a(\d+)r\d+d\d+$")


def functions_usd(
    prices: PriceTable, *, shards: int, rounds: int = 1, looks: int = 0, share: float = 1.0
) -> float:
    """What the functions of a run cost if each call uses `share` of its timeout.

    Trials are proposed in `rounds`, and a canary is looked at `looks` times.
    """
    memory_gb, timeout_s = RUN_FUNCTIONS["propose_trials"]
    gb_seconds = share * (
        shards * sum(memory * timeout for memory, timeout in SHARD_FUNCTIONS.values())
        + sum(memory * timeout for memory, timeout in RUN_FUNCTIONS.values())
        + rounds * memory_gb * timeout_s
        + looks * sum(memory * timeout for memory, timeout in CANARY_FUNCTIONS.values())
    )
    calls = shards * len(SHARD_FUNCTIONS) + len(RUN_FUNCTIONS) + rounds + looks
    return rounded(gb_seconds * prices.gb_second() + calls * prices.function_million_calls / 1e6)


def trial_costs(
    result: TrialResult, instance_type: str, prices: PriceTable, *, instance_count: int = 1
) -> list[TrialCost]:
    """What the jobs of a trial were billed for, in their order; of a failed one, what the cause says of its job.

    `instance_type` is the one asked for; the one that the backend chose goes before it.
    """
    billable, seconds = result.billable_seconds, result.training_seconds
    billable = _number(_BILLABLE, result.cause) if billable is None else billable
    seconds = _number(_SECONDS, result.cause) if seconds is None else seconds
    # A job of the third attempt has two before it. What is not told of them would be missing in the sum.
    attempt = _ATTEMPT.search(result.job)
    has_all = attempt is None or int(attempt[1]) <= len(result.earlier)
    jobs: list[tuple[str, str, int | None, int | None, bool]] = [
        (job.job, job.instance_type, None, job.billable_seconds, True) for job in result.earlier
    ]
    jobs.append((result.job, result.instance_type, seconds, billable, has_all))
    costs = []
    for name, chosen, trained, billed, is_whole in jobs:
        # A function that stands in for several instances is one all the same.
        count = 1 if memory_of(chosen or instance_type) else instance_count
        try:
            hour: float | None = prices.hour(chosen or instance_type)
        except UnknownPriceError:
            hour = None
        # What was never billed costs nothing at any price.
        usd = 0.0 if billed == 0 else None
        if hour is not None and billed is not None:
            usd = rounded(hour * billed * count / 3600)
        costs.append(
            TrialCost(
                trial=result.id,
                job=name,
                instance_type=chosen or instance_type,
                instance_count=count,
                seconds=trained,
                billable_seconds=billed,
                usd=usd,
                is_whole=is_whole and usd is not None,
            )
        )
    return costs


def run_cost(
    project: str,
    run: str,
    trials: Sequence[TrialCost],
    prices: PriceTable,
    *,
    shards: int,
    rounds: int = 1,
    is_complete: bool = True,
) -> RunCost:
    """Add up, with the rounds that these trials were proposed in. `is_complete=False` says that there were trials
    beside them, or warm pools after them."""
    training = sum(trial.usd or 0.0 for trial in trials)
    functions = functions_usd(prices, shards=shards, rounds=rounds, share=ASSUMED_SHARE)
    return RunCost(
        project=project,
        run=run,
        trials=list(trials),
        training_usd=rounded(training),
        functions_usd=functions,
        total_usd=rounded(training + functions),
        is_complete=is_complete and all(trial.is_whole for trial in trials),
        price_date=prices.as_of,
        price_region=prices.region,
    )


def record_cost(cost: RunCost, artifacts: ObjectStore, registry: ModelRegistry) -> None:
    """Write cost.json, and the sum into the run's record if all of it is known: a budget trusts that sum."""
    key = layout.cost_key(cost.project, cost.run)
    artifacts.put(key, cost.to_json(), content_type="application/json")
    if cost.is_complete:
        registry.set_run_cost(cost.project, cost.run, cost.total_usd)


def planned_shards(artifacts: ObjectStore, project: str, run: str) -> int:
    """Number of units in the plan of a run; 0 if it has none."""
    try:
        units: Any = json.loads(artifacts.get(layout.plan_key(project, run)))
    except (KeyError, ValueError):
        return 0
    return len(units) if isinstance(units, list) else 0


def month_to_date(records: Sequence[RunRecord], month: str) -> float:
    """USD of the runs started in `month` (2026-01); one whose cost is not known counts with its worst case."""
    costs = (
        record.estimated_usd if record.actual_usd is None else record.actual_usd
        for record in records
        if record.started_at.startswith(month)
    )
    return rounded(sum(cost or 0.0 for cost in costs))


def _number(pattern: re.Pattern[str], cause: str) -> int | None:
    found = pattern.search(cause)
    return int(found[1]) if found else None


def rounded(usd: float) -> float:
    """To a hundredth of a cent: less is noise beside list prices."""
    return round(usd, 4)

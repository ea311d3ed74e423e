"""`lehr cost`: what a run may cost before it starts, and what it has cost after it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from lehr import layout
from lehr.clock import now
from lehr.contracts.cost import RunCost, RunEstimate
from lehr.contracts.recipe import RECIPE_FILE, Recipe
from lehr.contracts.registry import RunRecord
from lehr.costs import month_to_date, planned_shards
from lehr.errors import UserError
from lehr.estimates import arithmetic, estimate_run, training_wall_s
from lehr.ports import EVERY_RUN
from lehr.prices import PRICES_FILE, PriceTable, load_prices
from lehr_cli.failures import CommandError
from lehr_cli.find_run import find_run
from lehr_cli.invocation import Invocation, command
from lehr_cli.output import Output, duration
from lehr_cli.price_list import API_REGION, refreshed, to_text
from lehr_cli.project import read_recipe
from lehr_cli.rows import pushed_recipe

ASSUMED_SHARDS = 8  # of data that nobody has planned yet
_RECENT = 5
_OLD_DAYS = 180

WhatArgument = Annotated[
    str | None, typer.Argument(help="A project, its folder, or a run.", metavar="PROJECT|FOLDER|RUN")
]
RefreshOption = Annotated[bool, typer.Option("--refresh", help="Read the prices of a region from AWS.")]
InstanceOption = Annotated[
    list[str] | None, typer.Option(help="With --refresh: an instance type that the table lacks.")
]
TableOption = Annotated[
    Path | None,
    typer.Option(help="With --refresh: write here, not over the program's own table.", dir_okay=False),
]


@command
def cost(
    invocation: Invocation,
    what: WhatArgument = None,
    refresh: RefreshOption = False,
    instance: InstanceOption = None,
    table: TableOption = None,
) -> None:
    """Say what a run of a project may cost at worst, or what a run has cost.

    A folder is estimated without any cloud.

    Example: lehr cost examples/mnist
    """
    if refresh:
        _refresh(invocation, instance or [], table or PRICES_FILE)
        return
    prices = load_prices()
    folder = Path(what or ".")
    if (folder / RECIPE_FILE).is_file():
        recipe = read_recipe(folder)
        _show_estimate(
            invocation.out, recipe, estimate_run(recipe, prices, shards=ASSUMED_SHARDS), prices, []
        )
        return
    if what is None:
        raise UserError(
            f"there is no {RECIPE_FILE} in this folder", hint="name a project, a project's folder or a run"
        )
    stack = invocation.stack
    if what not in stack.projects():
        _show_cost(invocation, find_run(stack, what))
        return
    recipe = pushed_recipe(stack.artifacts, what)
    records = stack.registry.runs(what, limit=EVERY_RUN)
    shards = planned_shards(stack.artifacts, what, records[0].run) if records else 0
    estimate = estimate_run(
        recipe, prices, shards=shards or ASSUMED_SHARDS, function_memory_mb=stack.function_memory_mb
    )
    _show_estimate(invocation.out, recipe, estimate, prices, records, memory_mb=stack.function_memory_mb)
    if not invocation.target.endpoint_url and invocation.target.region != prices.region:
        invocation.out.note(
            f"the stack is in {invocation.target.region}: `lehr cost --refresh` reads its prices"
        )


def _show_estimate(
    out: Output,
    recipe: Recipe,
    estimate: RunEstimate,
    prices: PriceTable,
    records: list[RunRecord],
    *,
    memory_mb: int = 0,
) -> None:
    known = [record.actual_usd for record in records if record.actual_usd is not None][:_RECENT]
    expected = round(sum(known) / len(known), 4) if known else None
    month = now()[:7]
    spent = month_to_date(records, month)
    out.say(f"{estimate.project}: at worst {estimate.total_usd:.2f} USD for a run")
    out.say(f"    {arithmetic(estimate)}", "dim")
    out.say(f"    {estimate.trial_usd:.2f} USD for each trial that takes all of its time", "dim")
    if expected is not None:
        out.say(
            f"    expected {expected:.2f} USD: the mean of the last {len(known)} run(s) with a known cost"
        )
    if records:
        out.say(f"    {spent:.2f} USD in {month} so far, runs of unknown cost at their worst case")
    if recipe.budget.stop_at_usd is not None:
        wall_s = training_wall_s(recipe, prices, shards=estimate.shards, function_memory_mb=memory_mb)
        out.say(f"    stops at {recipe.budget.stop_at_usd:g} USD: {wall_s or 0} s of training for each trial")
    limits = (("run", recipe.budget.max_usd_per_run), ("month", recipe.budget.max_usd_per_month))
    for period, limit in limits:
        if limit is not None:
            needed = estimate.total_usd + (spent if period == "month" else 0.0)
            verdict = "within" if needed <= limit else "OVER: start_run will refuse the run"
            out.say(f"    budget of {limit:g} USD for each {period}: {verdict}")
    out.note(f"{prices.origin()}; {prices.source}")
    if (age := _age_days(prices)) > _OLD_DAYS:
        out.note(f"the prices are {age} days old: read today's with lehr cost --refresh --aws")
    document: dict[str, Any] = {
        "event": "estimate",
        **estimate.to_value(),
        "expected_usd": expected,
        "expected_from_runs": len(known),
        "month": month,
        "month_usd": spent,
        "max_usd_per_run": recipe.budget.max_usd_per_run,
        "max_usd_per_month": recipe.budget.max_usd_per_month,
        "stop_at_usd": recipe.budget.stop_at_usd,
        "price_source": prices.source,
    }
    out.emit(document)


def _age_days(prices: PriceTable) -> int:
    return (date.fromisoformat(now()[:10]) - date.fromisoformat(prices.as_of)).days


def _show_cost(invocation: Invocation, record: RunRecord) -> None:
    out = invocation.out
    try:
        body = invocation.stack.artifacts.get(layout.cost_key(record.project, record.run))
    except KeyError as fault:
        estimate = record.estimated_usd
        raise UserError(
            f"the cost of run {record.run} of {record.project} is not known"
            + ("" if estimate is None else f"; at worst {estimate:.2f} USD"),
            hint="it is written when the training has ended"
            if record.status == "running"
            else "the run ended before it could be written",
        ) from fault
    told = RunCost.from_json(body)
    bound = "" if told.is_complete else "at least "
    out.say(f"run {told.run} of {told.project}: {bound}{told.total_usd:.4f} USD")
    for trial in told.trials:
        billed = "?" if trial.billable_seconds is None else duration(trial.billable_seconds)
        usd = "not known" if trial.usd is None else f"{trial.usd:.4f} USD"
        saved = ""
        if trial.seconds and trial.billable_seconds is not None and trial.billable_seconds < trial.seconds:
            saved = f", {1 - trial.billable_seconds / trial.seconds:.0%} saved by spot capacity"
        out.say(
            f"    trial {trial.trial}: {trial.instance_count} {trial.instance_type}, {billed} billed, {usd}{saved}"
        )
    out.say(f"    functions: {told.functions_usd:.4f} USD, estimated", "dim")
    if invocation.target.endpoint_url:
        out.note("nothing was billed: this is what AWS would have asked")
    out.note(f"list prices of {told.price_date}, {told.price_region}")
    out.emit({"event": "cost"} | told.to_value())


def _refresh(invocation: Invocation, more: list[str], path: Path) -> None:
    target = invocation.target
    if target.endpoint_url:
        raise CommandError("prices are AWS's own, and this is another cloud", "add --aws")
    client = target.session.client("pricing", region_name=API_REGION)
    before = load_prices()
    with invocation.out.waiting("reading the Price List API"):
        table, absent = refreshed(before, client, target.region, now()[:10], more)
    if not table.instance_hour:
        raise CommandError(f"the Price List API knows no instance of ours in {target.region}")
    try:
        path.write_text(to_text(table), encoding="utf-8")
    except OSError as fault:
        raise CommandError(
            f"{path} cannot be written: {fault.strerror}", "name a file with --table"
        ) from fault
    invocation.out.say(f"{len(table.instance_hour)} instance types of {table.region} written to {path}")
    if absent:
        invocation.out.say(f"    without a price there, and so left out: {', '.join(absent)}")
    invocation.out.note("functions know it after the next `sam build && sam deploy`")
    invocation.out.emit(
        {"event": "prices", "path": str(path), "as_of": table.as_of, "region": table.region, "absent": absent}
    )

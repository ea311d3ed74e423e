"""`lehr worth`: whether training again would be worth its money, by what is known already."""

from __future__ import annotations

from lehr import layout
from lehr.clock import now
from lehr.contracts.retraining import RetrainPlan
from lehr.retraining import weigh_retraining
from lehr_cli.data import ProjectArgument, require_project
from lehr_cli.invocation import Invocation, command
from lehr_cli.rows import pushed_recipe
from lehr_cli.stack import Stack


@command
def worth(invocation: Invocation, project: ProjectArgument) -> None:
    """Say whether training again is worth it: points expected, their price, and what they are expected from.

    Example: lehr worth fares
    """
    stack, out = invocation.stack, invocation.out
    require_project(stack, project)
    found = weigh(stack, project)
    out.emit({"event": "worth"} | found.to_value())
    verdict, style = ("worth it", "green") if found.is_worth else ("not worth it", "yellow")
    out.say(f"{verdict}: {found.reason}", style)
    out.note("drift and schedules are held against it; lehr train and data that is dropped are not")


def weigh(stack: Stack, project: str) -> RetrainPlan:
    """As start_run weighs a training that would start by itself, now."""
    recipe = pushed_recipe(stack.artifacts, project)
    prefix = layout.incoming_prefix(project)
    ready = layout.ready_key(project)
    raw_bytes = sum(one.bytes for one in stack.data.list(prefix) if one.key != ready)
    return weigh_retraining(recipe, stack.registry, stack.artifacts, raw_bytes=raw_bytes, at=now())

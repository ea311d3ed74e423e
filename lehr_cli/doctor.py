"""`lehr doctor`: what would stop a run, found before the first cent is spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from lehr.attempts import backends_of
from lehr.contracts.recipe import RECIPE_FILE, Recipe
from lehr.contracts.recipe_tables import Backend
from lehr.sweeps import trials_at_once
from lehr_cli import check_image, check_quotas, check_stack
from lehr_cli.check_account import check_account
from lehr_cli.failures import CommandError, explain
from lehr_cli.findings import Finding, Status, carefully, not_here
from lehr_cli.invocation import Invocation, command
from lehr_cli.project import read_recipe
from lehr_cli.target import Target, choose_target

_MARKS: dict[Status, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warn": ("!", "yellow"),
    "fail": ("✗", "bold red"),
    "not_checked": ("–", "dim"),  # noqa: RUF001
}

FolderArgument = Annotated[
    Path | None, typer.Argument(help="A project's folder, whose instance is asked about.", metavar="FOLDER")
]


@command
def doctor(invocation: Invocation, folder: FolderArgument = None) -> None:
    """Check account, quotas, stack and image, with the command that puts right what is wrong.

    Nothing is changed and nothing is started.

    Example: lehr doctor examples/mnist
    """
    here = folder or Path()
    recipe = read_recipe(here) if folder or (here / RECIPE_FILE).is_file() else None
    counts: dict[Status, int] = {"ok": 0, "warn": 0, "fail": 0, "not_checked": 0}
    # Not invocation.target: naming the account asks for credentials, and that they are missing is a finding here.
    target = invocation.given_target or choose_target(is_aws=invocation.is_aws, region=invocation.region)
    for finding in examine(target, invocation.stack_name, recipe):
        counts[finding.status] += 1
        invocation.out.say(drawn(finding))
        invocation.out.emit(finding.to_line())
    invocation.out.emit({"event": "examined"} | counts)
    told = f"{counts['ok']} ok, {counts['warn']} to know, {counts['fail']} to put right"
    if counts["fail"]:
        raise CommandError(told, "the commands above do it; then run lehr doctor again")
    invocation.out.say(told, "bold green" if not counts["warn"] else "bold yellow")


def examine(target: Target, stack_name: str, recipe: Recipe | None) -> Iterator[Finding]:
    """Every check in the order in which they matter; without credentials there is only one."""
    try:
        yield from check_account(target)
    except Exception as fault:
        told = explain(fault)
        if told is None:
            raise
        yield Finding(check="credentials", status="fail", saw=told.message, meaning=told.hint)
        return
    backend = recipe.backend if recipe else Backend()
    jobs = trials_at_once(recipe) if recipe else 1
    if target.endpoint_url:
        yield from map(not_here, ("training quotas", "Lambda concurrent executions"))
    else:
        yield from _examine_training(target, backend, jobs)
        slices = jobs if "lambda" in backends_of(backend) else 0
        look = partial(_examine_functions, target, stack_name, slices)
        yield from carefully("Lambda concurrent executions", look)
    yield from _examine_stack(target, stack_name, backend)


def _examine_training(target: Target, backend: Backend, jobs: int) -> Iterator[Finding]:
    """The quotas of every backend that the recipe names. Batch is taken to use EC2's machine of the same name."""
    kinds = {backend.kind, backend.fallback}
    if "sagemaker" in kinds:
        yield from carefully(
            f"{backend.instance_type} training jobs",
            partial(check_quotas.check_training_quotas, target, backend, jobs),
        )
    if "batch" in kinds:
        machine = backend.instance_type.removeprefix("ml.")
        count = backend.instance_count * jobs
        yield from carefully(
            f"EC2 {machine}", partial(check_quotas.check_batch_quotas, target, machine, count)
        )


def _examine_functions(target: Target, stack_name: str, slices: int) -> Iterator[Finding]:
    """The quota, for what the stack was deployed with; for the default where there is none yet.

    `slices` trainings run in functions at once.
    """
    stack = check_stack.find_stack(target, stack_name)
    deployed = check_stack.parameters_of(stack or {}).get("ShardConcurrency")
    wanted = int(deployed) if deployed else check_quotas.SHARD_CONCURRENCY
    yield from check_quotas.check_functions_quota(target, wanted, slices)


def _examine_stack(target: Target, name: str, backend: Backend) -> Iterator[Finding]:
    stack: Mapping[str, Any] | None = None

    def look() -> Iterator[Finding]:
        nonlocal stack
        stack = check_stack.find_stack(target, name)
        yield from check_stack.check_stack(target, name, stack)

    yield from carefully("stack", look)
    if stack is None:
        return
    yield from check_stack.check_backends(stack, backend)
    yield from carefully("S3", partial(check_stack.check_buckets, target, stack))
    yield from carefully("trainer image", partial(check_image.check_image, target, stack))
    yield from carefully("roles", partial(check_stack.check_roles, target, stack))
    yield from carefully("notifications", partial(check_stack.check_subscribers, target, stack))


def drawn(finding: Finding) -> Text:
    """A line, what it means below, and the command on a line of its own, to be copied."""
    mark, style = _MARKS[finding.status]
    text = Text.assemble((f"{mark} ", style), f"{finding.check}: ", (finding.saw, ""))
    if finding.meaning:
        text.append(f"\n    {finding.meaning}", "dim")
    if finding.command:
        text.append(f"\n    $ {finding.command}", "cyan")
    return text

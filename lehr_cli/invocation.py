"""What every command has in common: the shared options, the cloud it reaches, and how its errors are told."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from lehr_cli.failures import INTERRUPTED, explain
from lehr_cli.output import Output
from lehr_cli.stack import Stack, open_stack
from lehr_cli.target import Target, choose_target

P = ParamSpec("P")
_PANEL = "Where, and for whom"

StackOption = Annotated[
    str | None, typer.Option("--stack", help="CloudFormation stack (default: lehr).", rich_help_panel=_PANEL)
]
RegionOption = Annotated[str | None, typer.Option("--region", help="AWS region.", rich_help_panel=_PANEL)]
AwsOption = Annotated[
    bool,
    typer.Option("--aws", help="AWS, even if a local cloud runs in this folder.", rich_help_panel=_PANEL),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Machine-readable lines on stdout.", rich_help_panel=_PANEL)
]


@dataclass(kw_only=True)
class Invocation:
    """One call of the command.

    `aftermath` says what Ctrl-C would leave behind at this moment, and how to look at or stop it;
    `lasting` what stays in any case.
    """

    stack_name: str = "lehr"
    region: str | None = None
    is_aws: bool = False
    is_json: bool = False
    aftermath: str = "nothing was started"
    lasting: str = ""
    given_target: Target | None = field(default=None, repr=False)

    @cached_property
    def out(self) -> Output:
        return Output(is_json=self.is_json)

    @cached_property
    def target(self) -> Target:
        """The cloud; naming it on stderr is part of choosing it."""
        target = self.given_target or choose_target(is_aws=self.is_aws, region=self.region)
        self.out.note(target.describe())
        return target

    @cached_property
    def stack(self) -> Stack:
        return open_stack(self.target, self.stack_name)


def shared_options(
    context: typer.Context,
    stack: StackOption = None,
    region: RegionOption = None,
    aws: AwsOption = False,
    json: JsonOption = False,
) -> None:
    """The root callback: options before the command's name."""
    context.obj = Invocation(stack_name=stack or "lehr", region=region, is_aws=aws, is_json=json)


def command(function: Callable[Concatenate[Invocation, P], None]) -> Callable[..., None]:
    """Turn `function(invocation, …)` into what typer registers.

    The shared options are accepted after the command's name too, where people put them, and errors
    become sentences and exit codes here and nowhere else.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    shared = list(inspect.signature(shared_options, eval_str=True).parameters.values())
    names = [parameter.name for parameter in shared]

    @wraps(function)
    def registered(**given: Any) -> None:
        context, stack, region, aws, json = (given.pop(name) for name in names)
        before = context.obj or Invocation()
        invocation = Invocation(
            stack_name=stack or before.stack_name,
            region=region or before.region,
            is_aws=aws or before.is_aws,
            is_json=json or before.is_json,
            given_target=before.given_target,
        )
        _told(invocation, lambda: function(invocation, **given))  # type: ignore[call-arg]

    keyword = inspect.Parameter.KEYWORD_ONLY
    registered.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=keyword) for parameter in [*own, *shared]]
    )
    return registered


def _told(invocation: Invocation, call: Callable[[], None]) -> None:
    try:
        call()
    except KeyboardInterrupt:
        left = "\n".join(part for part in (invocation.aftermath, invocation.lasting) if part)
        invocation.out.errors.print(f"\ninterrupted: {left}", style="yellow")
        invocation.out.emit({"event": "interrupted", "message": left, "exit_code": INTERRUPTED})
        raise typer.Exit(INTERRUPTED) from None
    except Exception as fault:
        told = explain(fault)
        if told is None:
            raise
        invocation.out.fail(told.message, told.hint)
        invocation.out.emit(
            {
                "event": "error",
                "message": told.message,
                "hint": told.hint,
                "exit_code": told.exit_code,
            }
        )
        raise typer.Exit(told.exit_code) from None

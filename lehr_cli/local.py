"""`lehr local`: the whole stack on this machine, with neither Docker nor an AWS account."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from lehr_cli.failures import LocalCloudError
from lehr_cli.invocation import Invocation, command
from lehr_cli.local_cloud import LocalCloud
from lehr_cli.local_logs import logs
from lehr_cli.target import local_credentials

app = typer.Typer(no_args_is_help=True, help="The local cloud: the same stack on this machine.")
app.command("logs")(logs)

PortOption = Annotated[int | None, typer.Option(help="Port of the AWS API (default: its own choice).")]
HttpsPortOption = Annotated[int | None, typer.Option(help="Port of the HTTPS endpoint.")]
KeepOption = Annotated[
    bool, typer.Option("--keep", help="Keep what it holds when it stops, and begin with what was kept.")
]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        help="A parameter of template.yaml that is not to have its default; can be repeated.",
        metavar="KEY=VALUE",
    ),
]
EnforceOption = Annotated[
    bool, typer.Option("--enforce-iam", help="Deny what no policy allows, as AWS does.")
]


@app.command("up")
@command
def up(
    invocation: Invocation,
    port: PortOption = None,
    https_port: HttpsPortOption = None,
    enforce_iam: EnforceOption = False,
    keep: KeepOption = False,
    parameter: ParameterOption = None,
) -> None:
    """Start the local cloud and deploy template.yaml of this folder into it; again where it runs already.

    Example: lehr local up --parameter CaptureRate=1
    """
    cloud = LocalCloud(Path.cwd())
    invocation.aftermath = 'the local cloud may be running: "lehr local status" says so'
    info, outputs = start_and_deploy(
        invocation,
        cloud,
        port=port,
        https_port=https_port,
        enforce_iam=enforce_iam,
        keep=keep,
        parameters=parameter or (),
    )
    show_addresses(invocation, info, outputs)
    invocation.out.say("\nnext: lehr demo, or lehr push examples/mnist", "bold")


@app.command("down")
@command
def down(invocation: Invocation) -> None:
    """Stop the local cloud. What it holds is gone, unless it was started with --keep.

    Example: lehr local down
    """
    was_running = LocalCloud(Path.cwd()).down()
    invocation.out.say(
        "the local cloud has stopped" if was_running else "no local cloud was running in this folder"
    )
    invocation.out.emit({"event": "local_down", "was_running": was_running})


@app.command("status")
@command
def status(invocation: Invocation) -> None:
    """Say whether the local cloud of this folder runs, and where.

    Example: lehr local status
    """
    info = LocalCloud(Path.cwd()).status()
    if info is None:
        invocation.out.say("no local cloud runs in this folder; start it with: lehr local up")
        invocation.out.emit({"event": "local_status", "running": False})
        return
    show_addresses(invocation, info, {})


@app.command("env")
@command
def env(invocation: Invocation) -> None:
    """Print the variables that point the AWS CLI and every SDK at the local cloud.

    Example: eval "$(lehr local env)" && aws s3 ls
    """
    info = LocalCloud(Path.cwd()).status()
    if info is None:
        raise LocalCloudError("no local cloud runs in this folder", "start it with: lehr local up")
    variables = environment(info)
    if invocation.is_json:
        invocation.out.emit(variables)
        return
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


def environment(info: Mapping[str, Any]) -> dict[str, str]:
    """Environment variables by which any AWS client reaches a local cloud."""
    key, secret = local_credentials(info)
    return {
        "AWS_ENDPOINT_URL": str(info["endpoint_url"]),
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": str(info["region"]),
        "AWS_REGION": str(info["region"]),
    }


def start_and_deploy(
    invocation: Invocation,
    cloud: LocalCloud,
    *,
    port: int | None = None,
    https_port: int | None = None,
    enforce_iam: bool = False,
    keep: bool = False,
    parameters: Sequence[str] = (),
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Bring the local cloud and its stack up; both steps are harmless when already done."""
    with invocation.out.waiting("starting the local cloud"):
        info = cloud.status() or cloud.up(
            port=port, https_port=https_port, enforce_iam=enforce_iam, keep=keep
        )
    with invocation.out.waiting("deploying template.yaml"):
        outputs = cloud.deploy(info, invocation.stack_name, parameters)
    return info, outputs


def show_addresses(invocation: Invocation, info: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    """What can be reached where, a line each."""
    rows = {
        "AWS API": info.get("endpoint_url"),
        "predictions": outputs.get("EndpointUrl") or f"https://localhost:{info.get('https_port')}",
        "certificate": info.get("ca_file"),
        "data bucket": outputs.get("DataBucket"),
        "artifacts": outputs.get("ArtifactBucket"),
        "log": info.get("log"),
        "running since": info.get("started_at"),
    }
    for name, value in rows.items():
        if value:
            invocation.out.say(Text.assemble((f"{name:<15}", "dim"), str(value)))
    invocation.out.emit({"event": "local_status", "running": True, "info": info, "outputs": outputs})

"""`lehr demo`: everything once, on this machine, from raw files to a prediction over HTTPS."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from lehr.contracts.registry import RunRecord
from lehr.errors import UserError
from lehr_cli import data, predict, project
from lehr_cli.endpoint import ask, connection, curl_line, predict_url
from lehr_cli.failures import RunFailedError
from lehr_cli.invocation import Invocation, command
from lehr_cli.local import start_and_deploy
from lehr_cli.local_cloud import LocalCloud
from lehr_cli.output import duration, program
from lehr_cli.report import fetch_report
from lehr_cli.rows import test_row
from lehr_cli.target import STATE_DIR, local_target
from lehr_cli.train import follow_answer

EXAMPLE = Path("examples/mnist")
REQUEST = Path(STATE_DIR) / "demo" / "digit.json"
STAYS_UP = f'the local cloud stays up: stop it with "{program()} local down"'

RowOption = Annotated[int, typer.Option(min=0, help="The row of the test data to ask about.")]


@command
def demo(invocation: Invocation, row: RowOption = 0) -> None:
    """Train, judge, promote and ask a model of handwritten digits, in a local cloud of its own.

    Example: lehr demo
    """
    if invocation.is_aws:
        raise UserError(
            "the demo runs in the local cloud only",
            hint="on AWS: lehr push examples/mnist && lehr train mnist --data examples/mnist/data",
        )
    recipe = project.read_recipe(EXAMPLE)
    name = recipe.project.name
    _begin(invocation)
    began = time.monotonic()
    _step(invocation, f"push {EXAMPLE}")
    files = project.read_files(EXAMPLE)
    code_sha = project.upload(invocation.stack.artifacts, name, files)
    invocation.out.say(f"pushed {name}: {len(files)} file(s), code {code_sha}")
    invocation.out.emit({"event": "pushed", "project": name, "code_sha": code_sha, "files": sorted(files)})

    _step(invocation, f"drop {EXAMPLE / 'data'}")
    answer = data.drop_data(invocation, name, [EXAMPLE / "data"])
    data.show_answer(invocation, answer)
    if answer.outcome == "started":
        _step(invocation, "train, judge, promote")
    follow_answer(invocation, answer)
    invocation.aftermath = "the model is trained and serves"
    _ask(invocation, name, row)
    took_s = time.monotonic() - began if answer.outcome == "started" else None
    _summary(invocation, name, answer.run, took_s)


def _begin(invocation: Invocation) -> None:
    """Bring the local cloud up, whatever AWS_ENDPOINT_URL says: the demo brings its own world."""
    cloud = LocalCloud(Path.cwd())
    _step(invocation, "local cloud")
    invocation.aftermath = (
        'the local cloud may be running: "lehr local down" stops it; `lehr demo` goes on from here'
    )
    info, outputs = start_and_deploy(invocation, cloud)
    invocation.given_target = local_target(info)
    invocation.out.say(f"running at {info['endpoint_url']}, stack {invocation.stack_name!r} deployed")
    invocation.aftermath, invocation.lasting = "nothing is training", STAYS_UP
    invocation.out.emit({"event": "local_status", "running": True, "info": info, "outputs": outputs})


def _ask(invocation: Invocation, name: str, number: int) -> None:
    _step(invocation, "ask the champion over HTTPS")
    row = test_row(invocation.stack, name, number)
    predict.save_request(name, row, REQUEST)
    predict.show_row(invocation, row)
    http, body = connection(invocation.target), REQUEST.read_bytes()
    first = ask(invocation.stack, name, body, http)
    again = ask(invocation.stack, name, body, http)
    for answer, second in zip(first, again, strict=True):
        predict.show_answer(invocation, answer)
        invocation.out.say(f"asked again on the same connection: {second.latency_ms:.1f} ms", "dim")
        invocation.out.emit(
            {"event": "prediction", "expected": row.label}
            | dict(answer.document)
            | {"round_trip_ms": [round(one.latency_ms, 1) for one in (answer, second)]}
        )


def _summary(invocation: Invocation, name: str, run: str, took_s: float | None) -> None:
    """The last lines: what was reached, where to read about it, how to ask again, what still runs."""
    stack, out = invocation.stack, invocation.out
    champion = _champion(invocation, name)
    record = champion or stack.registry.run(name, run)
    if record is None:
        raise RunFailedError(f"run {run} of {name} is not in the registry")
    path = fetch_report(stack, record)
    line = curl_line(invocation.target, predict_url(stack, name), REQUEST)
    summary: dict[str, Any] = {
        "event": "summary",
        "project": name,
        "run": record.run,
        "champion": record.model_version,
        "accuracy": record.accuracy,
        "seconds": None if took_s is None else round(took_s, 1),
        "report": str(path),
        "curl": line,
    }
    accuracy = "unknown" if record.accuracy is None else f"{record.accuracy:.4f}"
    out.say()
    out.say(f"test accuracy  {accuracy}", "bold")
    if took_s is not None:
        out.say(f"time           {duration(took_s)} from raw files to a prediction over HTTPS")
    out.say(f"report         {path}")
    out.say(f"ask again      {line}")
    out.say()
    out.say(STAYS_UP, "dim")
    out.emit(summary)


def _champion(invocation: Invocation, name: str) -> RunRecord | None:
    """The run that the serving model came from."""
    registry = invocation.stack.registry
    alias = registry.alias(name)
    return registry.run(name, alias.owner) if alias else None


def _step(invocation: Invocation, title: str) -> None:
    invocation.out.say(f"\n{title}" if title != "local cloud" else title, "bold cyan")

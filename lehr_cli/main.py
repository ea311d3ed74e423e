"""The `lehr` command: what there is, and how it is called. Every command lives in a module of its own.

lehr demo                                     everything once, in a local cloud
lehr push examples/mnist                      a project's recipe and code
lehr train mnist --data examples/mnist/data   from data to decision, watched
lehr predict mnist --row 7                    ask the champion
"""

from __future__ import annotations

import typer

from lehr_cli import datasets, image, local
from lehr_cli.approval import approve, reject
from lehr_cli.compare import compare_runs
from lehr_cli.cost import cost
from lehr_cli.data import drop
from lehr_cli.demo import demo
from lehr_cli.doctor import doctor
from lehr_cli.drift import drift
from lehr_cli.invocation import shared_options
from lehr_cli.plan import plan_backend
from lehr_cli.predict import predict
from lehr_cli.project import push
from lehr_cli.report import report
from lehr_cli.reproduce import reproduce
from lehr_cli.resume import resume
from lehr_cli.rollback import rollback
from lehr_cli.runs import runs
from lehr_cli.train import train
from lehr_cli.verify import verify
from lehr_cli.watch import stop, watch
from lehr_cli.why import why
from lehr_cli.worth import worth

app = typer.Typer(
    name="lehr",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
    help="Train, judge and serve models on AWS, or in a local cloud without it.",
)
app.callback()(shared_options)
app.command()(demo)
app.command()(push)
app.command()(drop)
app.command()(train)
app.command()(watch)
app.command()(stop)
app.command()(resume)
app.command()(runs)
app.command()(why)
app.command()(approve)
app.command()(reject)
app.command()(rollback)
app.command()(predict)
app.command()(report)
app.command("compare")(compare_runs)
app.command()(verify)
app.command()(reproduce)
app.command()(drift)
app.command()(worth)
app.command()(cost)
app.command("plan")(plan_backend)
app.command()(doctor)
app.add_typer(datasets.app, name="data")
app.add_typer(image.app, name="image")
app.add_typer(local.app, name="local")


def run() -> None:
    """Entry point of the `lehr` command."""
    app()

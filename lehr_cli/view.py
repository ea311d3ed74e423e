"""How a run looks on a terminal: one line per state with its time, epochs below, a live line for now."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from lehr.history import END_WORDS
from lehr_cli.events import (
    Decided,
    Epoch,
    ExecutionEnded,
    MapProgress,
    RunEvent,
    RunResumed,
    SliceEnded,
    StateEntered,
    StateExited,
    TrainingJobStarted,
    TrainingWaits,
)
from lehr_cli.output import Output, duration

AWAIT_APPROVAL = "AwaitApproval"
_QUIET = 0.05  # seconds: a Choice or Pass state that takes less is not worth a line of its own


class RunView:
    """Draws run events; with --json it prints their lines instead. A context manager for the live line."""

    def __init__(self, output: Output, run: str = "RUN") -> None:
        self._output, self._run = output, run
        self._live: Live | None = None
        self._state = ""
        self._since = 0.0
        self._detail = ""
        self._items = ""
        self._jobs: list[str] = []

    def __enter__(self) -> Self:
        if self._output.people.is_terminal and not self._output.is_json:
            self._live = Live(console=self._output.people, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, event: RunEvent | None) -> None:
        """Draw one event; None redraws the live line only."""
        if event is not None:
            if self._output.is_json:
                self._output.emit(event.to_line())
            else:
                self._draw(event)
        if self._live and self._state:
            elapsed = duration(time.monotonic() - self._since)
            line = Text.assemble(f"{self._state:<17}", (f"{elapsed:>9}", "dim"), f"  {self._detail}")
            self._live.update(Spinner("dots", text=line, style="cyan"))

    def _draw(self, event: RunEvent) -> None:
        match event:
            case StateEntered():
                self._state, self._since = event.state, time.monotonic()
                self._detail = self._items = ""
                if event.state == AWAIT_APPROVAL:
                    self._output.say(_question(self._run))
            case MapProgress():
                failed = f", {event.failed} failed" if event.failed else ""
                self._detail = self._items = f"{event.done}/{event.of}{failed}"
            case TrainingJobStarted():
                self._jobs.append(event.job)
                self._output.say(f"    training job {event.job}", "dim")
            case SliceEnded():
                reached = "the end" if event.status == "Completed" else f"update {event.update:,}"
                line = f"slice {event.slice} ended at {reached}, {duration(event.seconds)} so far"
                self._output.say(f"    trial {_trial(event.job)}  {line}", "dim")
            case TrainingWaits():
                trial = f"trial {_trial(event.job)} " if len(self._jobs) > 1 else ""
                message = f": {event.message}" if event.message else ""
                line = f"    {trial}waits since {duration(event.seconds)}, {event.status}{message}"
                self._output.say(line, "yellow")
            case Epoch():
                self._output.say(self._epoch_line(event))
            case StateExited():
                self._state = ""
                if event.seconds >= _QUIET or self._items:
                    self._output.say(_state_line(event, self._items))
            case Decided():
                self._output.say(_decision_lines(event))
            case RunResumed():
                self._output.say(_resume_line(event), "bold")
            case ExecutionEnded():
                self._state = ""

    def _epoch_line(self, epoch: Epoch) -> Text:
        """Epochs of several trials are told apart by the number of the trial in the job's name."""
        self._detail = f"epoch {epoch.epoch}/{epoch.epochs}"
        trial = f"trial {_trial(epoch.job)}  " if len(self._jobs) > 1 else ""
        held_out: tuple[tuple[str, str], ...] = ()
        if epoch.validation_rmse is not None:
            held_out = (("validation RMSE ", "dim"), (f"{epoch.validation_rmse:.6g}  ", "bold"))
        if epoch.validation_accuracy is not None:
            held_out = (("validation accuracy ", "dim"), (f"{epoch.validation_accuracy:.4f}  ", "bold"))
        if epoch.validation_mean_iou is not None:
            held_out = (("validation mean IoU ", "dim"), (f"{epoch.validation_mean_iou:.4f}  ", "bold"))
        if epoch.validation_map50 is not None:
            held_out = (("validation mAP50 ", "dim"), (f"{epoch.validation_map50:.4f}  ", "bold"))
        return Text.assemble(
            f"    {trial}epoch {epoch.epoch}/{epoch.epochs}  ",
            ("loss ", "dim"),
            f"{epoch.loss:.4f}  ",
            *((("accuracy ", "dim"), f"{epoch.accuracy:.4f}  ") if epoch.accuracy is not None else ()),
            *held_out,
            (f"{epoch.samples_per_second:,.0f} samples/s  {duration(epoch.seconds)}", "dim"),
        )


def _question(run: str) -> Text:
    line = f"    waits for a person: lehr approve {run}, or lehr reject {run} --reason …"
    return Text(line, style="bold yellow")


def _trial(job: str) -> str:
    """`lehr-<stack>-<project>-<run>-<trial>-<counts>`."""
    parts = job.rsplit("-", 2)
    return parts[1] if len(parts) == 3 else job


def _state_line(event: StateExited, items: str) -> Text:
    line = Text.assemble(
        ("✗ ", "red") if event.has_failed else ("✓ ", "green"),
        f"{event.state:<17}",
        (f"{duration(event.seconds):>9}", "dim"),
    )
    return line.append(f"  {items}") if items else line


def _resume_line(event: RunResumed) -> str:
    """Such as `↻ resumed after 2 h 05 min 00.0 s; before: failed after 12.7 s`."""
    count = f" ({event.number})" if event.number > 1 else ""
    waited = "" if event.waited_s is None else f" after {duration(event.waited_s)}"
    if event.seconds is None:
        return f"↻ resumed{count}; the history before is gone"
    return f"↻ resumed{count}{waited}; before: {END_WORDS.get(event.ended, 'ended')} after {duration(event.seconds)}"


def _decision_lines(event: Decided) -> Text:
    lines = Text()
    for rule in event.decision.rules:
        mark = ("    ✓ ", "green") if rule.passed else ("    ✗ ", "red")
        lines.append_text(
            Text.assemble(mark, f"{rule.rule}: {rule.observed}", (f"  required {rule.required}\n", "dim"))
        )
    verdict = "promote" if event.decision.verdict == "promote" else "reject"
    style = "bold green" if verdict == "promote" else "bold yellow"
    lines.append_text(Text.assemble("    ", (verdict, style), f": {event.decision.headline}"))
    return lines

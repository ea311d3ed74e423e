"""`lehr why`: why a run failed, what it waits for, how it was decided; with the evidence and the next command."""

from __future__ import annotations

from rich.text import Text

from lehr.contracts.explanation import Explanation
from lehr.contracts.registry import RunRecord, TriggerRecord
from lehr.errors import UserError
from lehr.layout import checked_name
from lehr_cli.explaining import explain_refusal, explain_run, newer_refusal, notices
from lehr_cli.find_run import find_run
from lehr_cli.invocation import Invocation, command
from lehr_cli.stack import Stack
from lehr_cli.watch import RunArgument

_STYLES = {"promoted": "bold green", "rejected": "bold yellow", "failed": "bold red", "running": "bold cyan"}


@command
def why(invocation: Invocation, run: RunArgument = None) -> None:
    """Say why a run (default: the latest) failed, what it waits for, or how it was decided.

    Example: lehr why mnist
    """
    stack, out = invocation.stack, invocation.out
    record, refusal = _found(stack, run)
    if refusal is not None:
        told = explain_refusal(refusal)
        out.say(Text(f"the trigger of {refusal.at} was refused: {refusal.reason}", style="bold red"))
        out.say(lines(told))
        out.emit({"event": "explanation", "project": refusal.project, "status": "refused"} | told.to_value())
        return
    assert record is not None
    told = explain_run(stack, record)
    others = list(notices(stack, record))
    reason = f": {record.reason}" if record.reason and record.status != "running" else ""
    out.say(
        Text(f"run {record.run} of {record.project} {_word(record)}{reason}", style=_STYLES[record.status])
    )
    out.say(lines(told))
    for other in others:
        out.say(lines(other))
    head = {"event": "explanation", "project": record.project, "run": record.run, "status": record.status}
    out.emit(head | told.to_value() | {"notices": [other.to_value() for other in others]})


def lines(told: Explanation) -> Text:
    """An explanation as a person reads it: the sentence, what shows it, what is kept, what to type."""
    drawn = Text.assemble(("  ", ""), (told.cause, "bold"), "  ", told.sentence, "\n")
    width = max((len(one.source) for one in told.evidence), default=0)
    for one in told.evidence:
        drawn.append_text(Text.assemble(("    seen   ", "dim"), f"{one.source:<{width}}  ", one.text, "\n"))
    for kept in told.kept:
        drawn.append_text(Text.assemble(("    kept   ", "dim"), kept, "\n"))
    for following in told.next:
        drawn.append_text(Text.assemble(("    next   ", "dim"), (following, "cyan"), "\n"))
    drawn.rstrip()
    return drawn


def _found(stack: Stack, name: str | None) -> tuple[RunRecord | None, TriggerRecord | None]:
    """The run that is meant, or the refusal of a project that came after its last run."""
    try:
        record = find_run(stack, name)
    except UserError:
        refusal = newer_refusal(stack, checked_name(name), None) if name and "/" not in name else None
        if refusal is None:
            raise
        return None, refusal
    is_named = name is not None and record.run.startswith(name.rpartition("/")[2])
    return record, None if is_named else newer_refusal(stack, record.project, record)


def _word(record: RunRecord) -> str:
    return (
        "goes on" if record.status == "running" else f"{'was ' * (record.status != 'failed')}{record.status}"
    )

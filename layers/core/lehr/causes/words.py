"""An explanation as text: for a notification, which is read on a telephone at night."""

from __future__ import annotations

from lehr.contracts.explanation import Explanation

MAX_SUMMARY = 3000


def summary_of(explanation: Explanation) -> str:
    """Cause, evidence, what is kept and what to type, in lines; MAX_SUMMARY characters at most."""
    lines = [f"Cause: {explanation.cause}. {explanation.sentence}"]
    lines += [f"Seen in the {one.source}: {one.text}" for one in explanation.evidence]
    if explanation.kept:
        lines.append(f"Kept: {'; '.join(explanation.kept)}.")
    if explanation.next:
        lines += ["Next:", *(f"  {command}" for command in explanation.next)]
    return "\n".join(lines)[:MAX_SUMMARY]

"""Writes docs/causes.md: every cause that `lehr why` knows, as it stands in the catalogue.

python docs/generate_causes.py            # write the page
python docs/generate_causes.py --check    # exit code 1 if it is out of date
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from lehr.causes import decisions, of_cloud, of_data, of_judging, of_training, waits
from lehr.causes.rule import Cause

PAGE = Path(__file__).with_name("causes.md")
HEAD = """# Causes

Generated from the catalogue in `layers/core/lehr/causes` by `docs/generate_causes.py`; do not edit.

`lehr why RUN` names the cause of a failure or a wait, quotes the text that shows it, says what of the run's work is
kept, and which command is next. The record of a failure (`failure.json`), its notification and the report carry the
same. The names are stable. Of several causes that fit the first is taken, in the order in which they are looked for:
judgement and promotion, data, training, cloud. What none fits is called `unknown`, and told with all that was seen.
`{project}` and `{run}` are filled in; what stands in capitals or in `<…>` is yours to fill in.
"""
_SECTIONS = (
    ("Data", of_data.CAUSES),
    ("Training", of_training.CAUSES),
    ("Cloud", of_cloud.CAUSES),
    ("Start, judgement and promotion", of_judging.CAUSES),
)


def page() -> str:
    """The page as it should be."""
    return "\n".join([HEAD, *_sections(), *_waits()])


def _sections() -> Iterator[str]:
    for title, causes in _SECTIONS:
        yield f"## {title}\n\n| Cause | What it means | Next |\n|---|---|---|"
        yield from (_row(one) for one in causes)
        yield ""


def _row(one: Cause) -> str:
    commands = "<br>".join(f"`{command}`" for command in one.next)
    return f"| `{one.name}` | {one.sentence.replace('{state}', 'a state')} | {commands} |"


def _waits() -> Iterator[str]:
    yield "## Waits\n\n| Wait | What it is, and what ends it |\n|---|---|"
    yield from (f"| `{name}` | {sentence} |" for name, sentence in waits.SENTENCES.items())
    yield "\n## Decisions\n\n| Decision | What it means |\n|---|---|"
    yield from (f"| `{name}` | {sentence} |" for name, sentence in decisions.SENTENCES.items())
    yield "\n## Notices\n\n| Notice | What it means |\n|---|---|"
    yield from (f"| `{name}` | {sentence} |" for name, sentence in waits.NOTICES.items())
    yield ""


def main() -> int:
    if "--check" in sys.argv:
        return int(not PAGE.exists() or PAGE.read_text() != page())
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())

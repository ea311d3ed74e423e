"""One cause: its name, its sentence, by what it is known, and what to type. Pure: what was said is given.

Each pattern looks at one source alone: a log line that quotes an error's name is not that error, and a message that has
the name of a state is not that state. All patterns of one way have to be found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lehr.contracts.explanation import Evidence, Source

MAX_EXCERPT = 240
_LOG_LINES = 40


@dataclass(frozen=True, kw_only=True)
class Symptoms:
    """What is seen of a failure: the state, the error's name, the sentence out of its cause, the end of the log.

    `answers` are what a sentence or a command may name, as the project and the run.
    """

    state: str = ""
    error: str = ""
    reason: str = ""
    log: Sequence[str] = ()
    answers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Way:
    """Patterns that show a cause together, by the source that each of them is looked for in."""

    patterns: Mapping[Source, str]

    def find(self, seen: Symptoms) -> tuple[list[Evidence], dict[str, str]] | None:
        """The evidence, and the groups that the patterns name; None unless all are found."""
        evidence: list[Evidence] = []
        named: dict[str, str] = {}
        for source, pattern in self.patterns.items():
            found = next(_matches(source, pattern, seen), None)
            if found is None:
                return None
            evidence.append(Evidence(source=source, text=excerpt(found)))
            named |= {name: text for name, text in found.groupdict().items() if text}
        return evidence, named


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Sentence, details and commands may name {project}, {run} and {state}, and groups of the patterns.

    The sentence goes on with the first of the details of which everything is known.
    """

    name: str
    sentence: str
    ways: tuple[Way, ...]
    next: tuple[str, ...]
    details: tuple[str, ...] = ()

    def told(self, named: Mapping[str, str]) -> str:
        """The sentence, with a detail if there is one."""
        sentence = self.sentence.format_map(_Blank(named))
        for template in self.details:
            detail = template.format_map(_Blank(named))
            if "<" not in detail:
                return f"{sentence.removesuffix('.')}: {detail}."
        return sentence


class _Blank(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return f"<{name}>"


def cause(
    name: str, sentence: str, *ways: Way, next: tuple[str, ...], details: tuple[str, ...] = ()
) -> Cause:
    return Cause(name=name, sentence=sentence, ways=ways, next=next, details=details)


def when(*, state: str = "", error: str = "", reason: str = "", log: str = "") -> Way:
    """Patterns: of a state or an error's name from end to end, of the others anywhere."""
    patterns: dict[Source, str] = {
        "state": rf"^(?:{state})$" if state else "",
        "error": rf"^(?:{error})$" if error else "",
        "reason": reason,
        "log": log,
    }
    return Way({source: text for source, text in patterns.items() if text})


def fill(template: str, named: Mapping[str, str]) -> str:
    """The template with what is named in it; what is not known stays as <name>, for a person to put in."""
    return template.format_map(_Blank(named))


def excerpt(found: re.Match[str]) -> str:
    """What was found, with what stands around it, MAX_EXCERPT characters at most and in one line."""
    text = found.string
    start = max(0, min(found.start() - MAX_EXCERPT // 3, len(text) - MAX_EXCERPT))
    end = start + MAX_EXCERPT
    cut = " ".join(text[start:end].split())
    return ("…" if start else "") + cut[: MAX_EXCERPT - 2] + ("…" if end < len(text) else "")


def _matches(source: Source, pattern: str, seen: Symptoms) -> Iterator[re.Match[str]]:
    texts = {"state": [seen.state], "error": [seen.error], "reason": [seen.reason]}
    # The patterns are compiled when they are asked for: most of what runs has no use for them.
    for text in texts.get(source) or reversed(seen.log[-_LOG_LINES:]):
        found = re.search(pattern, text)
        if found:
            yield found

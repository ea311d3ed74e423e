"""Two audiences: people, and with --json programs. Programs get stdout alone; people then read stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console, RenderableType


class Output:
    """Where a command writes. Nothing passed here is read as markup: names and reasons are other people's text."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self.errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self.people = (
            self.errors if is_json else Console(highlight=False, markup=False, soft_wrap=True, emoji=False)
        )

    def say(self, text: RenderableType = "", style: str = "") -> None:
        """A line for people."""
        self.people.print(text, style=style)

    def note(self, text: str) -> None:
        """A dim aside on stderr: which cloud, what is being waited for."""
        self.errors.print(text, style="dim")

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """A spinner on a terminal; elsewhere nothing, since a log has no use for one."""
        return self.errors.status(what) if self.errors.is_terminal else nullcontext()

    def emit(self, document: Mapping[str, Any]) -> None:
        """With --json, one JSON object on a line of its own; else nothing."""
        if self.is_json:
            print(json.dumps(document, default=str), flush=True)

    def fail(self, message: str, hint: str = "") -> None:
        """The one sentence of an error and the way out."""
        self.errors.print(f"error: {message}", style="bold red")
        if hint:
            self.errors.print(f"       {hint}")


def program() -> str:
    """How a person calls this command from here: by name if it is on PATH, else by its path."""
    called = sys.argv[0]
    found = shutil.which("lehr")
    if os.path.basename(called) != "lehr" or (found and os.path.samefile(found, called)):
        return "lehr"
    return os.path.relpath(called)


def duration(seconds: float) -> str:
    """Seconds with one decimal and the unit; minutes and hours beside them when there are any."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes:.0f} min {rest:04.1f} s"
    return f"{minutes // 60:.0f} h {minutes % 60:02.0f} min {rest:04.1f} s"

"""Whose turn it is, among processes: many at once, or one alone."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def turn(folder: Path, *, is_alone: bool) -> Iterator[None]:
    """Wait for a turn beside others or alone. Files in `folder` are locked, so that a process that dies gives way.

    Everybody passes the door to get into the room. Who wants to be alone keeps the door shut until the room is empty,
    so that others who come and go cannot keep it waiting for ever.
    """
    with (folder / "door").open("a") as door, (folder / "room").open("a") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        if not is_alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield

"""SnapStart: what goes into the snapshot of the initialised function, and what a restored copy of it does first.

A snapshot is taken when a version is published, and restored for as long as that version serves: its champions may
long be others, and its connections and credentials are of another time.
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from functions.predict.champions import Champions
from lehr.json_log import JsonLog

# Lambda lets the hooks take ten seconds. What is not read by then is read in the background.
RESTORE_S = 5.0


class Reader(Protocol):
    def close(self) -> None: ...


def is_for_snapshot(environ: Mapping[str, str]) -> bool:
    """Whether this process is initialised for a snapshot."""
    return environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def _register_after_restore(hook: Callable[[], None]) -> None:
    from snapshot_restore_py import register_after_restore  # a part of Lambda's runtime

    register_after_restore(hook)


def prepare_snapshot(
    champions: Champions,
    projects: str,
    readers: Iterable[Reader],
    logger: JsonLog,
    *,
    register: Callable[[Callable[[], None]], None] = _register_after_restore,
) -> None:
    """Load the champions of `projects` (names with commas between), and have a restored copy look again.

    A project whose champion cannot be loaded now is left for its first request: publishing must not fail for it.
    """
    for project in filter(None, projects.split(",")):
        try:
            champions.get(project)
        except Exception:
            logger.exception("not in the snapshot", extra={"project": project})
    opened = list(readers)

    def close_readers() -> None:
        for reader in opened:
            reader.close()

    def after_restore() -> None:
        close_readers()
        if not champions.refresh_all(within_s=RESTORE_S):
            logger.warning("champions of the snapshot serve until they are read again")

    close_readers()
    register(after_restore)

"""Keeps the state of a local cloud on disk while it runs, and brings it back: `up --keep`.

A snapshot is taken from time to time and when the cloud stops. Its cost is bounded: the next one waits for many times
what the last one took, nothing is written when nothing has changed, and bytes that were written once are not read
again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from importlib.metadata import version
from pathlib import Path

from lehr_local.errors import LocalCloudError
from lehr_local.kept_state import read_state, write_state
from lehr_local.settings import LocalSettings
from lehr_local.snapshot_files import SnapshotFiles, TornError

logger = logging.getLogger(__name__)

INTERVAL_S = 10.0
# A snapshot may take this part of the time.
_SHARE = 1 / 50
_ATTEMPTS = 3


class Snapshots:
    """The snapshots of one cloud, in `<state>/snapshot`."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._files = SnapshotFiles(settings.state_dir / "snapshot")
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._reported: set[str] = set()

    def restore(self) -> bool:
        """Bring the newest state back that is whole; False if there is none.

        Raises LocalCloudError if there are states and none can be used: an empty cloud would overwrite them.
        """
        folder = self._files.folder
        if not folder.is_dir() or not self._files.states():
            return False
        _refuse_foreign(folder)
        for path in self._files.states():
            try:
                head, document = self._files.read(path)
                if head["moto"] != version("moto"):
                    raise LocalCloudError(
                        f"The snapshot in {folder} was written with moto {head['moto']}, "
                        f"and this is {version('moto')}.",
                        "Install that version, or start without --keep.",
                    )
                read_state(document, self._files.blobs, self._moved(head))
            except TornError as error:
                logger.warning("a snapshot is left out, the one before it is tried: %s", error)
            except LocalCloudError:
                raise
            except Exception as error:
                logger.exception("the snapshot %s cannot be read", path)
                raise LocalCloudError(
                    f"The snapshot {path} cannot be read: {error}", "Start without --keep."
                ) from error
            else:
                logger.info("the state of %s is back", path.name)
                return True
        raise LocalCloudError(f"No snapshot in {folder} is whole.", "Start without --keep, or delete it.")

    def start(self) -> None:
        threading.Thread(target=self._run, name="snapshots", daemon=True).start()

    def take(self) -> bool:
        """Write a snapshot now; whether there was something new."""
        with self._lock:
            for attempt in range(1, _ATTEMPTS + 1):
                self._files.blobs.begin()
                try:
                    document, left_out = write_state(self._files.blobs)
                except RuntimeError:
                    # A dictionary or a set has changed while it was read.
                    if attempt == _ATTEMPTS:
                        raise
                    continue
                break
            for name in sorted(left_out - self._reported):
                logger.info("objects of %s are not kept", name)
            self._reported |= left_out
            return self._files.write(document, self._about())

    def close(self) -> None:
        """Take the last snapshot. Idempotent."""
        if not self._closed.is_set():
            self._closed.set()
            self.take()

    def _run(self) -> None:
        pause_s = INTERVAL_S
        while not self._closed.wait(pause_s):
            begun = time.monotonic()
            try:
                self.take()
            except Exception:
                logger.exception("no snapshot was written")
            pause_s = max(INTERVAL_S, (time.monotonic() - begun) / _SHARE)

    def _about(self) -> dict[str, str]:
        return {
            "moto": version("moto"),
            "endpoint": f"localhost:{self._settings.port}",
            "https": f"localhost:{self._settings.https_port}",
        }

    def _moved(self, head: dict[str, str]) -> dict[str, str]:
        """Queues and APIs are named by their ports, which may be other ones now."""
        now = self._about()
        return {head[name]: now[name] for name in ("endpoint", "https") if head[name] != now[name]}


def _refuse_foreign(folder: Path) -> None:
    if folder.stat().st_uid != os.getuid():
        raise LocalCloudError(f"{folder} belongs to another user.", "Start without --keep.")

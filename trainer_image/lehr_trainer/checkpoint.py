"""Checkpoints that prove themselves: a file is the sha256 of what follows it, then a torch archive.

Inside are run, trial and fingerprint of the job, so that a checkpoint of other settings, data or code is
never resumed. A file is written aside, flushed to disk, and renamed; the newest two are kept, so that a
machine that dies while writing, or a disk that loses bytes, costs one interval and never the run.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

_KEPT = 2
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of one job; `job` is what has to be the same to go on: run, trial, fingerprint, device, …"""

    folder: Path
    job: Mapping[str, str]
    log: Callable[[str], None] = print

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Make `state` (tensors and plain values) durable; `step` counts over all epochs and orders the files."""
        buffer = io.BytesIO()
        torch.save({"job": dict(self.job), "state": dict(state)}, buffer)
        archive = buffer.getbuffer()
        path = self.folder / f"{self._prefix}{step:012d}.checkpoint"
        unfinished = path.with_suffix(".unfinished")
        self.folder.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(hashlib.sha256(archive).digest())
            file.write(archive)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(self.folder)
        for old in list(self._own())[_KEPT:]:
            old.unlink()
        return path

    def load(self) -> Mapping[str, Any] | None:
        """The newest state that is whole and of this job; None: start from the beginning."""
        foreign = sum(not path.name.startswith(self._prefix) for path in self.folder.glob("*.checkpoint"))
        if foreign:
            self.log(
                f"ignored {foreign} checkpoints of other settings, data or code, or of another number of processes, "
                "kind of device or version of torch"
            )
        for path in self.folder.glob(f"{self._prefix}*.unfinished"):
            path.unlink()
        for path in self._own():
            raw = path.read_bytes()
            if hashlib.sha256(raw[_DIGEST_BYTES:]).digest() != raw[:_DIGEST_BYTES]:
                self.log(f"discarded {path.name}: its bytes are not its sha256")
                path.unlink()
                continue
            try:
                content = torch.load(io.BytesIO(raw[_DIGEST_BYTES:]), map_location="cpu", weights_only=True)
            except UnpicklingError:
                self.log(f"ignored {path.name}: the model's state holds more than tensors and plain values")
                continue
            if content["job"] != dict(self.job):
                self.log(f"ignored {path.name}: it is of run {content['job'].get('run')}")
                continue
            state: Mapping[str, Any] = content["state"]
            return state
        return None

    @property
    def _prefix(self) -> str:
        """Other jobs' files differ in name already, so that keeping two never removes one of theirs."""
        return hashlib.sha256(repr(sorted(self.job.items())).encode()).hexdigest()[:12] + "-"

    def _own(self) -> Iterator[Path]:
        return iter(sorted(self.folder.glob(f"{self._prefix}*.checkpoint"), reverse=True))


def _sync_folder(folder: Path) -> None:
    """A rename is durable once the folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Where a training stands, and what of it goes into a checkpoint: everything that the next step depends on.

Of several processes each has sums and random streams of its own, which are gathered from all; the rest is the same
everywhere, and rank 0's is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lehr.contracts.training import EpochRecord
from lehr_trainer.determinism import capture_rng, restore_rng
from lehr_trainer.learner import Learner, Sums
from lehr_trainer.parallel import Group
from lehr_trainer.utilisation import Meter

# Of what `capture` writes: a checkpoint of another trainer is not continued.
STATE_VERSION = "6"


@dataclass
class Progress:
    """`epoch` epochs are finished, and `step` steps of the next, with this process' sums over it."""

    sums: Sums
    epoch: int = 0
    step: int = 0
    epoch_seconds: float = 0.0
    records: list[EpochRecord] = field(default_factory=list)

    def end_epoch(self, record: EpochRecord) -> None:
        self.records.append(record)
        self.epoch, self.step, self.epoch_seconds = self.epoch + 1, 0, 0.0
        self.sums.loss.zero_()
        self.sums.correct.zero_()
        self.sums.counted.zero_()


def capture(learner: Learner, progress: Progress, meter: Meter, group: Group) -> dict[str, Any]:
    """The whole state, on rank 0; every process has to call this at the same step."""
    sums = progress.sums
    own = {
        "rng": capture_rng(),
        "loss_sum": sums.loss,
        "correct": sums.correct,
        "counted": sums.counted,
    }
    return {
        "learner": learner.state_dict(),
        "ranks": group.gather(own),
        "epoch": progress.epoch,
        "step": progress.step,
        "epoch_seconds": progress.epoch_seconds,
        "records": msgspec.to_builtins(progress.records),
        "meter": meter.state(),
    }


def restore(
    saved: Mapping[str, Any], learner: Learner, progress: Progress, meter: Meter, group: Group
) -> None:
    """The inverse of `capture`, in every process."""
    own = saved["ranks"][group.rank]
    learner.load_state_dict(saved["learner"])
    restore_rng(own["rng"])
    progress.epoch, progress.step = saved["epoch"], saved["step"]
    progress.epoch_seconds = saved["epoch_seconds"]
    progress.sums.loss.copy_(own["loss_sum"])
    progress.sums.correct.copy_(own["correct"])
    progress.sums.counted.copy_(own["counted"])
    progress.records = msgspec.convert(saved["records"], type=list[EpochRecord])
    meter.restore(saved["meter"])

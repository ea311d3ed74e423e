"""What it costs that nothing is lost: the training loop with its checkpoints and watches, and without.

    .venv/bin/python -m benchmarks.checkpoints [--rounds 7] [--quick] [--networks mlp resnet]

In one process, turn about: the loop as it is deployed (a checkpoint at least every 60 s and at the end of each epoch,
a look at the losses every 100 updates, a heartbeat at each), the loop without checkpoints, and without either. The MLP
of the MNIST example trains one epoch of 60,000 rows, a ResNet-8 one of 3,000. Beside the ratio, which other work on
the machine disturbs, stands the share of the time that was spent within `CheckpointFolder.save`, which it hardly does.
For a longer training than an epoch of seconds both are less: what is written is the same. At last a training is asked
to stop, and the time until its checkpoint is durable is taken.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.rig import figures
from benchmarks.rig.figures import Target, spread
from benchmarks.rig.torch_training import NOTHING
from benchmarks.rig.training_worker import Clock
from benchmarks.train import write_data
from lehr.contracts.recipe_tables import Model, Training
from lehr_trainer import train as loop
from lehr_trainer.checkpoint import CheckpointFolder
from lehr_trainer.data import Examples
from lehr_trainer.determinism import make_deterministic, seed_everything
from lehr_trainer.divergence import LossWatch
from lehr_trainer.heartbeat import Heartbeat
from lehr_trainer.learner import Learner, updates_per_epoch
from lehr_trainer.models import build_model
from lehr_trainer.stop import StopFlag, TrainingStopped
from lehr_trainer.utilisation import Meter

FORMS = ("deployed", "without checkpoints", "without either")
NETWORKS = {"mlp": (Model(), 60_000), "resnet": (Model(name="resnet"), 3_000)}
OVERHEAD, DURABLE_S = 0.035, 1.0


@dataclass
class Saving:
    """What saving took."""

    seconds: float = 0.0
    count: int = 0
    size: int = 0


@contextmanager
def timed_saving(*, saves: bool) -> Iterator[Saving]:
    """Checkpoints are timed, or not written."""
    save, saving = CheckpointFolder.save, Saving()

    def timed(folder: CheckpointFolder, step: int, state: Mapping[str, Any]) -> Path:
        if not saves:
            return folder.folder
        started = time.perf_counter()
        path = save(folder, step, state)
        saving.seconds += time.perf_counter() - started
        saving.count += 1
        saving.size = path.stat().st_size
        return path

    with mock.patch.object(CheckpointFolder, "save", timed):
        yield saving


def _nothing(*rest: Any, **place: Any) -> None:
    """No mock, whose call would take longer than what it stands for."""


@contextmanager
def unwatched() -> Iterator[None]:
    """The loop notes no losses and looks at none."""
    with (
        mock.patch.object(LossWatch, "note", _nothing),
        mock.patch.object(LossWatch, "look", _nothing),
        mock.patch.object(loop, "refuse_bad_weights", _nothing),
    ):
        yield


def measure(examples: Examples, network: Model, form: str, seed: int) -> dict[str, float]:
    """One epoch in one of FORMS: its seconds, processor seconds, and what of them saving took."""
    with ExitStack() as stack:
        saving = stack.enter_context(timed_saving(saves=form == "deployed"))
        heartbeat = None
        if form == "without either":
            stack.enter_context(unwatched())
        else:
            heartbeat = stack.enter_context(Heartbeat(600, lambda fault, stack: None))
        clock = train(examples, network, seed, StopFlag(), heartbeat)
        return clock.read() | {
            "saving_seconds": saving.seconds,
            "saves": saving.count,
            "bytes": saving.size,
        }


class AskedLater(StopFlag):
    """Asks to stop at the tenth look, and remembers when that was."""

    def __init__(self) -> None:
        self._left, self.asked = 10, 0.0

    @property
    def is_set(self) -> bool:  # type: ignore[override]
        self._left -= 1
        if self._left == 0:
            self.asked = time.perf_counter()
        return self._left <= 0


class NoMeter(Meter):
    """Does not measure the machine, which takes longer than a checkpoint."""

    def start(self, device: Any) -> None:
        return


def time_to_durable(examples: Examples, network: Model) -> float:
    """Seconds from a request to stop, within an epoch, until the checkpoint is durable and the loop left."""
    stop = AskedLater()
    try:
        train(examples, network, 1, stop, None)
    except TrainingStopped:
        return time.perf_counter() - stop.asked
    raise AssertionError("the training ended before it was asked to stop")


def train(
    examples: Examples, network: Model, seed: int, stop: StopFlag, heartbeat: Heartbeat | None
) -> Clock:
    """One epoch in a folder of its own; the clock was started at its first step."""
    seed_everything(seed)
    model = build_model(network, input_shape=(28, 28), classes=10, code_folder=Path())
    training = Training(epochs=1, seed=seed)
    learner = Learner(
        model,
        training,
        class_counts=torch.bincount(examples.labels, minlength=10).tolist(),
        total=updates_per_epoch(len(examples), training),
        device=torch.device("cpu"),
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        loop.Loop(
            learner,
            examples,
            NOTHING,
            training,
            checkpoints=CheckpointFolder(Path(folder), {"run": "benchmark"}, lambda line: None),
            stop=stop,
            log=lambda line: None,
            heartbeat=heartbeat,
            meter=NoMeter(),
        ).run()
    return clock


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds after one that is not (7)")
    parser.add_argument("--quick", action="store_true", help="3 rounds of a fifth of the rows")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--json-file", type=Path, help="also write the JSON document here")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    header = figures.machine() | {"torch": str(torch.__version__), "rounds": rounds}
    for key, value in header.items():
        print(f"{key}: {value}", flush=True)
    torch.set_num_threads(1)
    make_deterministic()
    results: dict[str, Any] = {}
    targets = []
    with tempfile.TemporaryDirectory(prefix="lehr-bench-") as place:
        write_data(Path(place) / "mnist.npz", 60_000)
        data = np.load(Path(place) / "mnist.npz")
        everything = Examples(torch.from_numpy(data["x"]), torch.from_numpy(data["y"]))
    for name in options.networks:
        network, rows = NETWORKS[name]
        rows = rows // 5 if options.quick else rows
        examples = Examples(everything.images[:rows], everything.labels[:rows])
        seen: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
        for number in range(rounds + 1):
            for form in FORMS[number % 3 :] + FORMS[: number % 3]:
                found = measure(examples, network, form, number)
                if number:
                    seen[form].append(found)
        durable = spread([time_to_durable(examples, network) for _ in range(5)])
        results[name], shares = report(name, seen, durable)
        targets += [
            Target(f"{name}: share of the time for checkpoints", OVERHEAD, shares),
            Target(f"{name}: seconds from a request to stop until it is durable", DURABLE_S, durable.max),
        ]
    figures.finish("checkpoints", header, results, targets, options.json_file)


def report(
    name: str, seen: dict[str, list[dict[str, float]]], durable: figures.Spread
) -> tuple[dict[str, Any], float]:
    """Print the table of one network; its document, and the median share of saving."""
    cpu, wall = (
        {form: spread([one[kind] for one in found]) for form, found in seen.items()}
        for kind in ("cpu_seconds", "seconds")
    )
    share = spread([one["saving_seconds"] / one["seconds"] for one in seen["deployed"]])
    each = spread([one["saving_seconds"] / one["saves"] * 1000 for one in seen["deployed"]])
    size = seen["deployed"][0]["bytes"]
    bare = cpu["without either"].median
    figures.print_table(
        f"{name}: an epoch; a checkpoint of {size / 1e6:.2f} MB takes {each} ms, and saving {share.median:.2%}",
        ["form", "processor s", "over the bare loop", "wall s"],
        [[form, cpu[form], f"{cpu[form].median / bare - 1:+.2%}", wall[form]] for form in FORMS],
    )
    document = {
        "cpu_seconds": cpu,
        "seconds": wall,
        "saving_share": share,
        "save_ms": each,
        "bytes": size,
        "durable_seconds": durable,
    }
    return document, share.median


if __name__ == "__main__":
    main()

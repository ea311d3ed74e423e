"""One training job from its files to a model package, or to a reason why not.

`run(root)` can be called in a process of one's own, as tests and benchmarks do; `python -m lehr_trainer train` is the
same with SIGTERM listened to. A job of several processes is launched from here, and each of them runs the same with its
rank.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lehr.contracts.package import SIGNATURE_FILE, TRAINING_FILE
from lehr.contracts.training import TrainingSummary
from lehr_trainer import __version__
from lehr_trainer.batchnorm import synchronised_batchnorm
from lehr_trainer.checkpoint import CheckpointFolder
from lehr_trainer.data import Examples, load_examples
from lehr_trainer.determinism import (
    choose_threads,
    make_deterministic,
    seed_everything,
    seed_rank,
    weights_sha256,
)
from lehr_trainer.errors import ProcessFailedError
from lehr_trainer.export import export_model, make_signature
from lehr_trainer.failure import log_lines, reason_of
from lehr_trainer.job import Job, clear_failure, code_folder, read_job, write_failure
from lehr_trainer.launch import follow_launcher, is_first_here, run_processes
from lehr_trainer.learner import Learner, updates_per_epoch
from lehr_trainer.models import build_model, count_parameters, importable
from lehr_trainer.parallel import is_loss_of_a_process, isolate_gpu, joined
from lehr_trainer.processes import find_own_ranks, refuse_misfits
from lehr_trainer.ranks import Ranks
from lehr_trainer.stop import StopFlag, TrainingStopped
from lehr_trainer.train import STATE_VERSION, train
from lehr_trainer.utilisation import Meter, utilisation_line

PARITY_ROWS = 4096
ENOUGH_PARITY_ROWS = 1000
ALONE = Ranks()
_VERSIONED = ("torch", "numpy", "onnx", "onnxscript", "onnxruntime")


def run(root: Path, stop: StopFlag | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the job under `root`. Returns the exit code: 0 trained or stopped, 1 failed (see output/failure)."""
    stop, ranks = stop or StopFlag(), Ranks()
    if is_first_here(environ):
        clear_failure(root)
    try:
        ranks = find_own_ranks(root, environ)
        if ranks.world_size > 1 and not ranks.is_launched:
            _log(f"{ranks.processes_per_node} processes on host {ranks.node + 1} of {ranks.node_count}")
            return run_processes(ranks, root, environ, stop)
        follow_launcher(environ)
        train_job(read_job(root, environ), stop, environ, ranks)
    except TrainingStopped as stopped:
        if ranks.rank == 0:
            _log(str(stopped))
        return 0
    except Exception as fault:
        if is_loss_of_a_process(fault):
            fault = ProcessFailedError(f"rank {ranks.rank} has lost another process, whose log says why")
        for line in log_lines(fault, code_folder(root)):
            _log(f"rank {ranks.rank}: {line}" if ranks.is_launched else line)
        write_failure(root, reason_of(fault, code_folder(root)), keep=ranks.is_launched)
        return 1
    return 0


def train_job(
    job: Job, stop: StopFlag, environ: Mapping[str, str], ranks: Ranks = ALONE
) -> TrainingSummary | None:
    """Train, export, prove, and write the three files of a model package. Raises what `errors.py` lists.

    Every process of the job trains; rank 0 does the rest and returns the summary, the others None.
    """
    refuse_misfits(job.training, ranks)
    isolate_gpu(ranks)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    input_shape, classes = tuple(job.manifest.input_shape), len(job.manifest.labels)
    make_deterministic()
    examples, validation = (
        load_examples(job.shards[split], input_shape=input_shape, classes=classes, device=device)
        for split in ("train", "validation")
    )

    def fresh_model() -> Any:
        return build_model(
            job.recipe.model, input_shape=input_shape, classes=classes, code_folder=job.code_folder
        )

    with importable(job.code_folder), ExitStack() as together:
        seed_everything(job.training.seed)
        model = fresh_model().to(device)
        parameters = count_parameters(model)
        threads = choose_threads(parameters, environ, processes=ranks.processes_per_node)
        torch.set_num_threads(threads)
        seed_rank(job.training.seed, ranks.rank)
        group = together.enter_context(joined(ranks, device))
        together.enter_context(synchronised_batchnorm(model, group, device))
        log = _log if group.is_first else _say_nothing
        learner = Learner(
            model,
            job.training,
            class_counts=job.manifest.class_counts("train"),
            total=job.training.epochs * updates_per_epoch(len(examples), job.training),
            device=device,
            augment=job.recipe.augment,
            group=group,
        )
        log(
            f"training {job.project}, run {job.run}, trial {job.trial}: {len(examples)} rows, "
            f"{len(validation)} held out, {parameters} parameters, {device} with {threads} "
            f"{'thread' if threads == 1 else 'threads'}, {learner.precision}, seed {job.training.seed}"
        )
        meter = Meter()
        records = train(
            learner,
            examples,
            validation,
            job.training,
            checkpoints=CheckpointFolder(
                job.checkpoint_folder,
                {
                    "run": job.run,
                    "trial": job.trial,
                    "fingerprint": job.fingerprint(),
                    # A GPU's random streams cannot be continued on a CPU, nor another torch's kernels on this one.
                    "device": device.type,
                    "torch": str(torch.__version__),
                    "state": STATE_VERSION,
                    # Sums are cut by rank, and each rank has random streams of its own.
                    "processes": str(ranks.world_size),
                },
                log,
            ),
            stop=stop,
            log=log,
            meter=meter,
            group=group,
        )
        best_epoch = learner.finish()
        model = learner.unsharded(fresh_model)
        together.close()
        if not group.is_first:
            return None
        utilisation = meter.report(records, len(examples), processes=ranks.world_size)
        _log(utilisation_line(utilisation))

        started = time.monotonic()
        signature = make_signature(job.recipe.project.task, job.manifest.input_shape, job.manifest.labels)
        parity = export_model(
            model, job.model_folder, parity_rows(validation, examples), signature, threads=threads
        )
        _log(
            f"exported in {time.monotonic() - started:.2f} s: on {parity.rows} rows the logits differ by at "
            f"most {parity.max_absolute_difference:.2g}"
        )

    summary = TrainingSummary(
        project=job.project,
        run=job.run,
        trial=job.trial,
        epochs=records,
        best_epoch=best_epoch,
        precision=learner.precision,
        parity=parity,
        parameters=parameters,
        training_rows=len(examples),
        seconds=sum(record.seconds for record in records),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        threads=threads,
        processes=ranks.world_size,
        weights_sha256=weights_sha256(model),
        versions={
            "python": platform.python_version(),
            "lehr-trainer": __version__,
            **{name: version(name) for name in _VERSIONED},
        },
        utilisation=utilisation,
    )
    (job.model_folder / SIGNATURE_FILE).write_bytes(signature.to_json())
    (job.model_folder / TRAINING_FILE).write_bytes(summary.to_json())
    return summary


def parity_rows(validation: Examples, examples: Examples) -> np.ndarray:
    """Real rows to prove the export on: held-out ones, filled up from the training rows if they are few."""
    rows: np.ndarray = validation.images[:PARITY_ROWS].cpu().numpy()
    missing = max(0, ENOUGH_PARITY_ROWS - len(rows))
    return np.concatenate([rows, examples.images[:missing].cpu().numpy()])


def _log(line: str) -> None:
    print(line, flush=True)


def _say_nothing(line: str) -> None:
    """The log of all processes but the first."""

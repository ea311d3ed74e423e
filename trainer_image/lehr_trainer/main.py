"""One training job from its files to a model package, or to a reason why not.

`run(root)` can be called in a process of one's own, as tests and benchmarks do; `python -m lehr_trainer train` is the
same with SIGTERM listened to. A job of several processes is launched from here, and each of them runs the same with its
rank.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from lehr.contracts.data_rules import DEFAULT_MAX_BOXES, SEGMENTATIONS
from lehr.contracts.detection_rules import DETECTIONS
from lehr.contracts.training import TrainingSummary
from lehr_trainer.batchnorm import synchronised_batchnorm
from lehr_trainer.checkpoint import CheckpointFolder
from lehr_trainer.data import AnyExamples, Examples, load_examples
from lehr_trainer.determinism import (
    flush_in_pool,
    make_deterministic,
    seed_everything,
    seed_rank,
    threads_kept,
)
from lehr_trainer.errors import HangError, ProcessFailedError
from lehr_trainer.failure import lines_when_stuck, log_lines, reason_of
from lehr_trainer.heartbeat import Heartbeat
from lehr_trainer.hooks import find_hooks
from lehr_trainer.initial_weights import start_from_champion
from lehr_trainer.job import Job, clear_failure, code_folder, read_job, write_failure
from lehr_trainer.launch import follow_launcher, is_first_here, run_processes
from lehr_trainer.learner import Learner, updates_per_epoch
from lehr_trainer.memory import MicroBatch, within_memory
from lehr_trainer.models import build_model, count_parameters, importable
from lehr_trainer.parallel import is_loss_of_a_process, isolate_gpu, joined
from lehr_trainer.processes import find_own_ranks, refuse_misfits
from lehr_trainer.progress import STATE_VERSION
from lehr_trainer.ranks import Ranks
from lehr_trainer.stop import StopFlag, TrainingStopped
from lehr_trainer.tables import build_table_model, load_table
from lehr_trainer.train import Loop, Tune
from lehr_trainer.trained_package import write_package
from lehr_trainer.tuning import Tuning, refuse_compiling, shared_threads, tune
from lehr_trainer.utilisation import Meter, utilisation_line
from lehr_trainer.wall import Wall

ALONE = Ranks()


def run(root: Path, stop: StopFlag | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the job under `root`. Returns the exit code: 0 trained or stopped, 1 failed (see output/failure)."""
    stop, ranks, began = stop or StopFlag(), ALONE, time.monotonic()
    if is_first_here(environ):
        clear_failure(root)
    try:
        ranks = find_own_ranks(root, environ)
        if ranks.world_size > 1 and not ranks.is_launched:
            _log(f"{ranks.processes_per_node} processes on host {ranks.node + 1} of {ranks.node_count}")
            return run_processes(ranks, root, environ, stop)
        follow_launcher(environ)
        _train_watched(root, read_job(root, environ), stop, environ, ranks, began)
    except TrainingStopped as stopped:
        stop.stopped = stopped
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


def _train_watched(
    root: Path, job: Job, stop: StopFlag, environ: Mapping[str, str], ranks: Ranks, began: float
) -> None:
    """Train under the watch of a heartbeat, and once more in smaller parts where memory does not suffice."""

    def end(fault: HangError, stack: traceback.StackSummary) -> None:
        lines, reason = lines_when_stuck(fault, stack, code_folder(root))
        for line in lines:
            _log(line)
        write_failure(root, reason, keep=ranks.is_launched)
        os._exit(1)

    micro_batch = MicroBatch.of(job.training.batch_size)
    with Heartbeat(job.recipe.backend.hang_after_s, end) as heartbeat:
        within_memory(
            lambda: train_job(job, stop, environ, heartbeat, micro_batch, ranks, began),
            micro_batch,
            _log,
            may_retry=ranks.world_size == 1,
        )


@threads_kept()
def train_job(
    job: Job,
    stop: StopFlag,
    environ: Mapping[str, str],
    heartbeat: Heartbeat | None = None,
    micro_batch: MicroBatch | None = None,
    ranks: Ranks = ALONE,
    began: float | None = None,
) -> TrainingSummary | None:
    """Train, export, prove, and write the files of a model package. Raises what `errors.py` lists.

    Every process of the job trains; rank 0 does the rest and returns the summary, the others None. `began` is when this
    job's time began to cost money, by time.monotonic(); None is now.
    """
    if heartbeat is not None:
        # A second attempt begins with no sign due, as the first one did.
        heartbeat.rest()
    refuse_misfits(job.training, ranks)
    isolate_gpu(ranks)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    input_shape, classes = tuple(job.manifest.input_shape), len(job.manifest.labels)
    make_deterministic()
    flush_in_pool()
    table = job.manifest.of_table
    has_masks = job.recipe.project.task in SEGMENTATIONS
    finds_boxes = job.recipe.project.task in DETECTIONS
    max_boxes = (job.recipe.data.max_boxes or DEFAULT_MAX_BOXES) if finds_boxes else 0
    examples, validation = (
        load_table(job.shards[split], table, device=device)
        if table
        else load_examples(
            job.shards[split],
            input_shape=input_shape,
            classes=classes,
            device=device,
            residency=job.training.residency,
            processes=ranks.processes_per_node,
            has_masks=has_masks,
            dtype=job.manifest.input_dtype,
            max_boxes=max_boxes,
        )
        for split in ("train", "validation")
    )
    log = _log if ranks.rank == 0 else _say_nothing
    wall = Wall(job.wall_s, last_update=job.last_update, began=began)

    def fresh_model() -> Any:
        if table:
            return build_table_model(job.recipe.model, table, code_folder=job.code_folder, log=log)
        return build_model(
            job.recipe.model,
            input_shape=input_shape,
            classes=classes,
            code_folder=job.code_folder,
            log=log,
            has_masks=has_masks,
            sample_rate=job.recipe.data.sample_rate,
            finds_boxes=finds_boxes,
        )

    with importable(job.code_folder), ExitStack() as together:
        seed_everything(job.training.seed)
        model = fresh_model().to(device)
        initial_version = start_from_champion(model, job, log)
        hooks = find_hooks(
            job.recipe.hooks,
            job.training,
            classes=classes,
            code_folder=job.code_folder,
            mask_shape=input_shape[:2] if has_masks else (),
        )
        parameters = count_parameters(model)
        seed_rank(job.training.seed, ranks.rank)
        group = together.enter_context(joined(ranks, device))
        together.enter_context(synchronised_batchnorm(model, group, device))
        updates = job.training.epochs * updates_per_epoch(len(examples), job.training)
        learner = Learner(
            model,
            job.training,
            class_counts=job.manifest.class_counts("train"),
            total=updates,
            device=device,
            augment=job.recipe.augment,
            hooks=hooks,
            group=group,
            keeps_best=wall.is_set and len(validation) > 0,
        )
        where = "" if isinstance(examples, Examples) else " streamed"
        log(
            f"training {job.project}, run {job.run}, trial {job.trial}: {len(examples)} rows{where}, "
            f"{len(validation)} held out, {parameters} parameters, {device}, {learner.precision}, "
            f"seed {job.training.seed}"
        )
        meter = Meter()
        loop = Loop(
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
            heartbeat=heartbeat,
            micro_batch=micro_batch,
            group=group,
            rung_epochs=job.rung_epochs,
            target_std=table.target_std if table else 1.0,
            wall=wall,
        )
        records = loop.run(_tuner(job, ranks, environ, updates, device))
        best_epoch = learner.finish(at_wall=wall.ended_at is not None)
        model = learner.unsharded(fresh_model)
        together.close()
        if not group.is_first:
            return None
        utilisation = meter.report(records, processes=ranks.world_size)
        log(utilisation_line(utilisation))
        return write_package(
            job,
            model,
            learner,
            examples,
            validation,
            records=records,
            best_epoch=best_epoch,
            wall_update=wall.ended_at,
            initial_version=initial_version,
            processes=ranks.world_size,
            utilisation=utilisation,
            log=log,
        )


def _tuner(job: Job, ranks: Ranks, environ: Mapping[str, str], updates: int, device: Any) -> Tune:
    """How the steps of this job are to run: found by trying, where nobody else has to agree."""

    def find(learner: Learner, examples: AnyExamples, flops_per_sample: float | None) -> Tuning:
        rows = min(job.training.batch_size, len(examples))
        flops_per_update = flops_per_sample and flops_per_sample * rows
        if ranks.world_size > 1:
            refuse_compiling(job.training.compile)
            return Tuning(shared_threads(flops_per_update, ranks.processes_per_node, environ))
        return tune(
            lambda mode: learner.rehearsal(examples, mode),
            flops_per_update=flops_per_update,
            updates=updates * job.training.accumulate_steps,
            compiling=job.training.compile,
            device=device,
            environ=environ,
            log=_log,
            adds_up=learner.adds_up,
        )

    return find


def _log(line: str) -> None:
    print(line, flush=True)


def _say_nothing(line: str) -> None:
    """The log of all processes but the first."""

"""One training job from its files to a model package, or to a reason why not.

`run(root)` can be called in a process of one's own, as tests and benchmarks do; `python -m lehr_trainer train` is the
same with SIGTERM listened to.
"""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import torch

from lehr.contracts.package import INT8_FILE, SIGNATURE_FILE, TRAINING_FILE, WEIGHTS_FILE
from lehr.contracts.training import TrainingSummary
from lehr_trainer import __version__
from lehr_trainer.checkpoint import CheckpointFolder
from lehr_trainer.data import AnyExamples, Examples, load_examples
from lehr_trainer.determinism import make_deterministic, seed_everything, weights_sha256
from lehr_trainer.errors import HangError
from lehr_trainer.export import export_model, make_signature
from lehr_trainer.failure import lines_when_stuck, log_lines, reason_of
from lehr_trainer.heartbeat import Heartbeat
from lehr_trainer.hooks import find_hooks
from lehr_trainer.initial_weights import start_from_champion, write_weights
from lehr_trainer.job import Job, clear_failure, code_folder, read_job, write_failure
from lehr_trainer.learner import Learner, updates_per_epoch
from lehr_trainer.memory import MicroBatch, within_memory
from lehr_trainer.models import build_model, count_parameters, importable
from lehr_trainer.models.keras_module import KerasModule
from lehr_trainer.quantise import CALIBRATION_ROWS, int8_line, publish_int8
from lehr_trainer.stop import StopFlag, TrainingStopped
from lehr_trainer.train import STATE_VERSION, train
from lehr_trainer.tuning import Tuning, tune
from lehr_trainer.utilisation import Meter, utilisation_line

PARITY_ROWS = 4096
ENOUGH_PARITY_ROWS = 1000
_VERSIONED = ("torch", "numpy", "onnx", "onnxscript", "onnxruntime")


def run(root: Path, stop: StopFlag | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the job under `root`. Returns the exit code: 0 trained or stopped, 1 failed (see output/failure)."""
    clear_failure(root)
    stop = stop or StopFlag()
    try:
        _train_watched(root, read_job(root, environ), stop, environ)
    except TrainingStopped as stopped:
        stop.stopped = stopped
        _log(str(stopped))
        return 0
    except Exception as fault:
        for line in log_lines(fault, code_folder(root)):
            _log(line)
        write_failure(root, reason_of(fault, code_folder(root)))
        return 1
    return 0


def _train_watched(root: Path, job: Job, stop: StopFlag, environ: Mapping[str, str]) -> None:
    """Train under the watch of a heartbeat, and once more in smaller parts where memory does not suffice."""

    def end(fault: HangError, stack: traceback.StackSummary) -> None:
        lines, reason = lines_when_stuck(fault, stack, code_folder(root))
        for line in lines:
            _log(line)
        write_failure(root, reason)
        os._exit(1)

    micro_batch = MicroBatch.of(job.training.batch_size)
    with Heartbeat(job.recipe.backend.hang_after_s, end) as heartbeat:
        within_memory(lambda: train_job(job, stop, environ, heartbeat, micro_batch), micro_batch, _log)


def train_job(
    job: Job,
    stop: StopFlag,
    environ: Mapping[str, str],
    heartbeat: Heartbeat | None = None,
    micro_batch: MicroBatch | None = None,
) -> TrainingSummary:
    """Train, export, prove, and write the files of a model package. Raises what `errors.py` lists."""
    micro_batch = micro_batch or MicroBatch.of(job.training.batch_size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    input_shape, classes = tuple(job.manifest.input_shape), len(job.manifest.labels)
    make_deterministic()
    examples, validation = (
        load_examples(
            job.shards[split],
            input_shape=input_shape,
            classes=classes,
            device=device,
            residency=job.training.residency,
        )
        for split in ("train", "validation")
    )

    with importable(job.code_folder):
        seed_everything(job.training.seed)
        model = build_model(
            job.recipe.model,
            input_shape=input_shape,
            classes=classes,
            code_folder=job.code_folder,
            log=_log,
        ).to(device)
        initial_version = start_from_champion(model, job, _log)
        hooks = find_hooks(job.recipe.hooks, job.training, classes=classes, code_folder=job.code_folder)
        parameters = count_parameters(model)
        updates = job.training.epochs * updates_per_epoch(len(examples), job.training)
        learner = Learner(
            model,
            job.training,
            class_counts=job.manifest.class_counts("train"),
            total=updates,
            device=device,
            augment=job.recipe.augment,
            hooks=hooks,
        )
        where = "" if isinstance(examples, Examples) else " streamed"
        _log(
            f"training {job.project}, run {job.run}, trial {job.trial}: {len(examples)} rows{where}, "
            f"{len(validation)} held out, {parameters} parameters, {device}, {learner.precision}, "
            f"seed {job.training.seed}"
        )
        meter = Meter()

        def find_tuning(learner: Learner, examples: AnyExamples, flops_per_sample: float | None) -> Tuning:
            rows = min(job.training.batch_size, len(examples))
            return tune(
                lambda mode: learner.rehearsal(examples, mode),
                flops_per_update=flops_per_sample and flops_per_sample * rows,
                updates=updates * job.training.accumulate_steps,
                compiling=job.training.compile,
                device=device,
                environ=environ,
                log=_log,
            )

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
                },
                _log,
            ),
            stop=stop,
            log=_log,
            meter=meter,
            tune=find_tuning,
            heartbeat=heartbeat,
            micro_batch=micro_batch,
        )
        best_epoch = learner.finish()
        utilisation = meter.report(records, len(examples))
        _log(utilisation_line(utilisation))

        started = time.monotonic()
        signature = make_signature(job.recipe.project.task, job.manifest.input_shape, job.manifest.labels)
        rows, labels = parity_rows(validation, examples)
        parity = export_model(model, job.model_folder, rows, signature, threads=learner.tuning.threads)
        _log(
            f"exported in {time.monotonic() - started:.2f} s: on {parity.rows} rows the logits differ by at "
            f"most {parity.max_absolute_difference:.2g}"
        )
        int8 = publish_int8(
            job.model_folder, rows, labels, examples.span(0, CALIBRATION_ROWS)[0].cpu().numpy(), signature
        )
        _log(int8_line(int8))
        if job.recipe.serving.precision == "int8":
            if int8.is_published:
                signature = msgspec.structs.replace(signature, graph=INT8_FILE)
            else:
                _log('serving.precision = "int8" is not had: the float32 graph answers')

        write_weights(model, job.model_folder / WEIGHTS_FILE, _log)

    summary = TrainingSummary(
        project=job.project,
        run=job.run,
        trial=job.trial,
        epochs=records,
        best_epoch=best_epoch,
        initial_version=initial_version,
        precision=learner.precision,
        micro_batch_rows=micro_batch.rows,
        parity=parity,
        int8=int8,
        parameters=parameters,
        training_rows=len(examples),
        seconds=sum(record.seconds for record in records),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        threads=learner.tuning.threads,
        weights_sha256=weights_sha256(model),
        versions={
            "python": platform.python_version(),
            "lehr-trainer": __version__,
            **{name: version(name) for name in _VERSIONED},
            **({"keras": version("keras")} if isinstance(model, KerasModule) else {}),
        },
        utilisation=utilisation,
    )
    (job.model_folder / SIGNATURE_FILE).write_bytes(signature.to_json())
    (job.model_folder / TRAINING_FILE).write_bytes(summary.to_json())
    return summary


def parity_rows(validation: AnyExamples, examples: AnyExamples) -> tuple[np.ndarray, np.ndarray]:
    """Real rows to prove the export on, and their labels: held-out ones, filled up from the training rows if few."""
    held_out = validation.span(0, PARITY_ROWS)
    more = examples.span(0, max(0, ENOUGH_PARITY_ROWS - len(held_out[1])))
    images, labels = (
        np.concatenate([first.cpu().numpy(), second.cpu().numpy()])
        for first, second in zip(held_out, more, strict=True)
    )
    return images, labels


def _log(line: str) -> None:
    print(line, flush=True)

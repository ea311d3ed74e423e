"""What a training leaves: the exported graph with its proof, int8 beside it, the weights, and what is known of them."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
import torch

from lehr.contracts.package import INT8_FILE, SIGNATURE_FILE, TRAINING_FILE, WEIGHTS_FILE
from lehr.contracts.training import EpochRecord, Int8, TrainingSummary, Utilisation
from lehr_trainer import __version__
from lehr_trainer.box_export import PARITY_ROWS as BOX_PARITY_ROWS
from lehr_trainer.box_export import make_box_signature
from lehr_trainer.data import AnyExamples
from lehr_trainer.determinism import weights_sha256
from lehr_trainer.export import INPUT, export_model, make_signature
from lehr_trainer.initial_weights import write_weights
from lehr_trainer.job import Job
from lehr_trainer.learner import Learner
from lehr_trainer.measuring import evaluation_rows
from lehr_trainer.models import count_parameters
from lehr_trainer.models.keras_module import has_keras
from lehr_trainer.quantise import CALIBRATION_ROWS, int8_line, publish_int8
from lehr_trainer.targets import kind_of

PARITY_ROWS = 4096
ENOUGH_PARITY_ROWS = 1000
_VERSIONED = ("torch", "numpy", "onnx", "onnxscript", "onnxruntime")


def write_package(
    job: Job,
    model: Any,
    learner: Learner,
    examples: AnyExamples,
    validation: AnyExamples,
    *,
    records: Sequence[EpochRecord],
    best_epoch: int | None,
    wall_update: int | None = None,
    initial_version: str,
    processes: int,
    utilisation: Utilisation,
    log: Callable[[str], None],
) -> TrainingSummary:
    """Export `model`, prove it on real rows, and write the files of a model package into the job's model folder.

    Raises ExportError and ExportParityError.
    """
    started = time.monotonic()
    table = job.manifest.of_table
    task, finds_boxes = job.recipe.project.task, kind_of(examples.labels) == "boxes"
    if finds_boxes:
        signature = make_box_signature(model, task, job.manifest.input_shape, job.manifest.labels, name=INPUT)
    else:
        signature = make_signature(
            task,
            job.manifest.input_shape,
            job.manifest.labels,
            table=table,
            sample_rate=job.recipe.data.sample_rate,
        )
    rows, labels = parity_rows(validation, examples)
    if finds_boxes:
        rows = rows[:BOX_PARITY_ROWS]
    parity = export_model(
        model, job.model_folder, rows, signature, threads=learner.tuning.threads, table=table
    )
    log(
        f"exported in {time.monotonic() - started:.2f} s: on {parity.rows} rows the "
        f"{'logits' if signature.labels else 'values'} differ by at most {parity.max_absolute_difference:.2g}"
    )
    if table:
        int8 = Int8(is_published=False, reason="the graph of a table stays float32")
    elif job.recipe.data.sample_rate is not None:
        int8 = Int8(is_published=False, reason="the graph of sound stays float32: its spectrum needs it")
    elif finds_boxes:
        int8 = Int8(is_published=False, reason="the graph of a detector stays float32: it is judged by mAP")
    else:
        calibration = examples.span(0, CALIBRATION_ROWS)[0].cpu().numpy()
        int8 = publish_int8(job.model_folder, rows, labels, calibration, signature)
    log(int8_line(int8))
    if job.recipe.serving.precision == "int8":
        if int8.is_published:
            signature = msgspec.structs.replace(signature, graph=INT8_FILE)
        else:
            log('serving.precision = "int8" is not had: the float32 graph answers')
    write_weights(model, job.model_folder / WEIGHTS_FILE, log)

    device = examples.labels.device
    summary = TrainingSummary(
        project=job.project,
        run=job.run,
        trial=job.trial,
        epochs=list(records),
        best_epoch=best_epoch,
        wall_update=wall_update,
        initial_version=initial_version,
        precision=learner.precision,
        micro_batch_rows=learner.micro_batch_rows,
        parity=parity,
        int8=int8,
        parameters=count_parameters(model),
        training_rows=len(examples),
        seconds=sum(record.seconds for record in records),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        threads=learner.tuning.threads,
        processes=processes,
        weights_sha256=weights_sha256(model),
        versions={
            "python": platform.python_version(),
            "lehr-trainer": __version__,
            **{name: version(name) for name in _VERSIONED},
            **({"keras": version("keras")} if has_keras(model) else {}),
        },
        utilisation=utilisation,
    )
    (job.model_folder / SIGNATURE_FILE).write_bytes(signature.to_json())
    (job.model_folder / TRAINING_FILE).write_bytes(summary.to_json())
    return summary


def parity_rows(validation: AnyExamples, examples: AnyExamples) -> tuple[np.ndarray, np.ndarray]:
    """Real rows to prove the export on, and their labels: held-out ones, filled up from the training rows if few."""
    most = PARITY_ROWS if examples.labels.dim() < 3 else evaluation_rows(examples)
    held_out = validation.span(0, most)
    more = examples.span(0, max(0, min(most, ENOUGH_PARITY_ROWS) - len(held_out[1])))
    images, labels = (
        np.concatenate([first.cpu().numpy(), second.cpu().numpy()])
        for first, second in zip(held_out, more, strict=True)
    )
    return images, labels

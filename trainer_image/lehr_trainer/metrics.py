"""The lines of the log that machines read: one per epoch, parsed by SageMaker and by the `lehr` command.

    epoch 1/5 loss=0.2951 accuracy=0.9142 validation_loss=0.1413 validation_accuracy=0.9583 \
samples_per_second=36500 seconds=1.6

The two validation fields are absent when nothing is held out; a regression has `validation_rmse` and `validation_mae`
instead of accuracies, a segmentation `validation_mean_iou` beside them, which are of pixels, object detection
`validation_map50` instead; each metric of the project is one more field, `validation_<name>`. Lines within a long epoch
say `step`, and no definition matches them.
"""

from __future__ import annotations

from lehr.contracts.training import EpochRecord

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"

# AlgorithmSpecification.MetricDefinitions of a training job. The space keeps `loss` from matching in
# `validation_loss`.
METRIC_DEFINITIONS: list[dict[str, str]] = [
    {"Name": "train:loss", "Regex": f" loss={_NUMBER}"},
    {"Name": "train:accuracy", "Regex": f" accuracy={_NUMBER}"},
    {"Name": "validation:loss", "Regex": f" validation_loss={_NUMBER}"},
    {"Name": "validation:accuracy", "Regex": f" validation_accuracy={_NUMBER}"},
    {"Name": "validation:rmse", "Regex": f" validation_rmse={_NUMBER}"},
    {"Name": "validation:mae", "Regex": f" validation_mae={_NUMBER}"},
    {"Name": "validation:mean_iou", "Regex": f" validation_mean_iou={_NUMBER}"},
    {"Name": "validation:map50", "Regex": f" validation_map50={_NUMBER}"},
    {"Name": "train:samples_per_second", "Regex": f" samples_per_second={_NUMBER}"},
    {"Name": "train:seconds", "Regex": f" seconds={_NUMBER}"},
]


def epoch_line(record: EpochRecord, epochs: int) -> str:
    """The line of a finished epoch."""
    fields = [f"epoch {record.epoch}/{epochs}", f"loss={record.loss:.4f}"]
    names = (
        "accuracy",
        "validation_loss",
        "validation_accuracy",
        "validation_mean_iou",
        "validation_map50",
        "validation_rmse",
        "validation_mae",
    )
    fields += [f"{name}={value:.4f}" for name in names if (value := getattr(record, name)) is not None]
    fields += [
        f"validation_{name}={value:.4f}" for name, value in record.metrics.items() if value is not None
    ]
    fields += [f"samples_per_second={record.samples_per_second:.0f}", f"seconds={record.seconds:.2f}"]
    return " ".join(fields)


def progress_line(epoch: int, epochs: int, step: int, steps: int, loss: float) -> str:
    """A sign of life within an epoch; `loss` is the mean so far."""
    return f"epoch {epoch}/{epochs} step {step}/{steps} loss_so_far={loss:.4f}"

"""`card.md`: what a package says of its model to a person, as a Hugging Face model card.

https://huggingface.co/docs/hub/model-cards. It is made of the package's own documents and of the dataset's manifest, so
two attempts at a package write the same bytes. A package is written before its model is evaluated on the test split:
the figures are therefore those of training, and the card says where the others will be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

from lehr import layout
from lehr.contracts.data_rules import FILES
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.detection_rules import DETECTIONS
from lehr.contracts.figures import TrainingFigures
from lehr.contracts.package import INT8_FILE, MODEL_FILE, Lineage, Signature
from lehr.contracts.training import TrainingSummary

MAX_LABELS_SHOWN = 50


def write_card(
    signature: Signature, summary: TrainingSummary, lineage: Lineage, manifest: DatasetManifest
) -> bytes:
    """The card in UTF-8: YAML between two lines of dashes, then Markdown."""
    figures = summary.figures()
    task = signature.task.replace("_", "-")
    lines = [
        "---",
        "library_name: onnx",
        f"tags: [onnx, lehr, {json.dumps(task)}]",
        *_model_index(lineage, figures, task),
        "---",
        "",
        f"# {lineage.project}",
        "",
        f"A model for {task} in ONNX, trained and packaged by Lehr. It takes raw inputs: normalisation is part of the "
        f"graph. It has {summary.parameters:,} parameters.",
        "",
        "## Inputs and outputs",
        "",
        *_table(
            ["", "name", "type", "shape"],
            [
                ["input", signature.input.name, signature.input.dtype, json.dumps(signature.input.shape)],
                *(
                    [["input", categories.name, categories.dtype, json.dumps(categories.shape)]]
                    if (categories := signature.of_table and signature.of_table.categories)
                    else []
                ),
                ["output", signature.output.name, signature.output.dtype, json.dumps(signature.output.shape)],
            ],
        ),
        "",
        _outputs(signature),
        "",
        "## Training data",
        "",
        f"Dataset version {_code(lineage.dataset_version)} of {_code(lineage.project)}. The version is the digest of "
        f"its manifest, {_code(layout.dataset_manifest_key(lineage.project, lineage.dataset_version))}.",
        "",
        *_table(
            ["split", "rows"],
            [
                [split, f"{manifest.rows(split):,}"]
                for split in ("train", "validation", "test")
                if manifest.rows(split)
            ],
        ),
        "",
        "## Training",
        "",
        *_table(
            ["setting", "value"],
            [
                *sorted(lineage.hyperparameters.items()),
                *(
                    [["started from", f"model version {lineage.initial_version}"]]
                    if lineage.initial_version
                    else []
                ),
                ["epochs done", str(len(summary.epochs))],
                *(
                    [["ended at its wall", f"after update {summary.wall_update}"]]
                    if summary.wall_update
                    else []
                ),
                ["instance", lineage.instance_type],
                ["device", summary.device],
                ["time", f"{summary.seconds:.0f} s"],
                *([name, version] for name, version in sorted(summary.versions.items())),
            ],
        ),
        "",
        "## Evaluation",
        "",
        f"On the {figures.split} split, after epoch {figures.epoch}: {_measured(figures, signature.task)}."
        + (
            ""
            if figures.split == "validation"
            else " No rows were held out, so this is no estimate for new data."
        ),
        "",
        _parity(summary, signature),
        "",
        *_int8(summary, signature),
        f"The test split was read after this card was written, with the champion of then beside it: see "
        f"{_code(layout.evaluation_report_key(lineage.project, lineage.run))} and the run's report.",
        "",
        "## Lineage",
        "",
        *_table(
            ["", ""],
            [
                ["run", lineage.run],
                [
                    "trial",
                    f"{lineage.trial} of {lineage.trials}" if lineage.trials > 1 else lineage.trial,
                ],
                ["training job", lineage.training_job],
                ["code", lineage.code_sha],
                ["image", lineage.image],
                *([["trainer", lineage.trainer_version]] if lineage.trainer_version else []),
                ["weights, sha256", summary.weights_sha256],
            ],
        ),
        "",
        "## How to ask it",
        "",
        "While it is the champion:",
        "",
        "```bash",
        f"lehr predict {lineage.project} {'--image FILE' if manifest.format in FILES else '--row 0'}",
        "```",
        "",
        "or `POST /predict/" + lineage.project + "` at the endpoint, whose API is at `/docs`. Anywhere else:",
        "",
        "```python",
        "import onnxruntime",
        "",
        f"session = onnxruntime.InferenceSession({json.dumps(signature.graph)})",
        f"({_name_of_output(signature)},) = session.run("
        f"[{json.dumps(signature.output.name)}], {{{_feed(signature)}}})",
        "```",
        "",
        "## Limits",
        "",
        (
            f"It gives {'each pixel ' if len(signature.output.shape) == 4 else ''}one of its {len(signature.labels)} "
            "labels for any input of its shape, also for one that is none of them. "
            if signature.labels and signature.task not in DETECTIONS
            else ""
        )
        + "Its figures hold for data like the dataset's; what else it was used on was not measured."
        + (
            " A probability is the graph's own, and calibrated only as far as the run's report shows."
            if signature.labels and signature.task not in DETECTIONS
            else ""
        ),
    ]
    return ("\n".join(lines) + "\n").encode()


def _name_of_output(signature: Signature) -> str:
    if signature.task in DETECTIONS:
        return "detections"
    return "probabilities" if signature.labels else "values"


def _parity(summary: TrainingSummary, signature: Signature) -> str:
    parity = summary.parity
    text = f"The graph was compared with the trained module on {parity.rows:,} real rows: it differs by "
    text += f"{parity.max_absolute_difference:.2e} "
    if signature.labels:
        if signature.task in DETECTIONS:
            return text + "at most, in logits and in shares of the image."
        return text + f"logits at most, and gives another label for {parity.argmax_disagreements}."
    return text + "at most, in the target's units."


def _outputs(signature: Signature) -> str:
    table = signature.of_table
    columns = ""
    if table:
        named = ", ".join(f"{_code(column.name)} ({column.kind})" for column in table.columns)
        columns = (
            f" The columns are {named}: numbers first, in their order and NaN for a missing one, then text."
        )
    if table and not signature.labels:
        return f"-1 is the batch. An output row is one value of {_code(table.target)}, in its own units.{columns}"
    if len(signature.output.shape) == 4:
        return (
            f"-1 is the batch. The output has, for each pixel of an image, one probability for each of "
            f"{len(signature.labels)} labels, in this order along axis 1: {_labels(signature.labels)}."
        )
    if signature.task in DETECTIONS:
        return (
            f"-1 is the batch. The output has, for each of {signature.output.shape[1]} cells, a box (left, top, right "
            "and bottom, in shares of the image's sides), then one score for each of "
            f"{len(signature.labels)} labels, in this order: {_labels(signature.labels)}. Boxes of one label that "
            f"overlap are one object: see {_code('lehr_runtime.detection.find_objects')}."
        )
    return (
        f"-1 is the batch. An output row has one probability for each of {len(signature.labels)} labels, in this "
        f"order: {_labels(signature.labels)}.{columns}"
    )


def _feed(signature: Signature) -> str:
    """The inputs of the graph as the entries of a dict in Python."""
    table = signature.of_table
    feed = {signature.input.name: "numbers" if table and table.categories else "rows"}
    if table and table.categories:
        feed[table.categories.name] = "texts"
    return ", ".join(f"{json.dumps(name)}: {variable}" for name, variable in feed.items())


def _measured(figures: TrainingFigures, task: str) -> str:
    if figures.mean_iou is not None:
        return (
            f"mean IoU {_number(figures.mean_iou)}, accuracy of pixels {_number(figures.accuracy or 0.0)}, mean "
            f"cross-entropy {_number(figures.loss)} nats"
        )
    if figures.map50 is not None:
        return f"mAP at an IoU of 0.5 {_number(figures.map50)}, mean loss {_number(figures.loss)}"
    if task in DETECTIONS:
        return f"mean loss {_number(figures.loss)}"
    if figures.accuracy is not None:
        return f"accuracy {_number(figures.accuracy)}, mean cross-entropy {_number(figures.loss)} nats"
    errors = [
        f"{name} {value:.6g}"
        for name, value in (("RMSE", figures.rmse), ("MAE", figures.mae))
        if value is not None
    ]
    return ", ".join([*errors, f"mean loss {_number(figures.loss)} in squared spreads of the target"])


def _model_index(lineage: Lineage, figures: TrainingFigures, task: str) -> list[str]:
    """Hugging Face's `model-index`. JSON is YAML, so whatever a name holds stays inside of its quotes."""
    metrics = [
        {"type": name, "value": value, "name": f"{name} on the {figures.split} split"}
        for name, value in (
            ("accuracy", figures.accuracy),
            ("mean_iou", figures.mean_iou),
            ("map50", figures.map50),
            ("rmse", figures.rmse),
            ("mae", figures.mae),
            ("loss", figures.loss),
        )
        if value is not None and math.isfinite(value)
    ]
    result = {
        "task": {"type": task},
        "dataset": {
            "type": lineage.project,
            "name": lineage.project,
            "revision": lineage.dataset_version,
            "split": figures.split,
        },
        "metrics": metrics,
    }
    return [
        "model-index:",
        f"  - name: {json.dumps(lineage.project)}",
        f"    results: {json.dumps([result])}",
    ]


def _int8(summary: TrainingSummary, signature: Signature) -> list[str]:
    """What int8 costs and gains, where a graph was published."""
    int8 = summary.int8
    if int8 is None or not int8.is_published or int8.float32_accuracy is None or int8.int8_accuracy is None:
        return []
    return [
        f"{_code(INT8_FILE)} is the graph in eight bits: on {int8.rows:,} rows its accuracy is "
        f"{_number(int8.int8_accuracy)}, that of {_code(MODEL_FILE)} {_number(int8.float32_accuracy)}. One row takes "
        f"it {int8.int8_p50_us:.1f} µs instead of {int8.float32_p50_us:.1f} on one thread of the machine that trained. "
        f"{_code(signature.graph)} is the one that answers.",
        "",
    ]


def _labels(labels: list[str]) -> str:
    shown = ", ".join(map(_code, labels[:MAX_LABELS_SHOWN]))
    return shown + (f" and {len(labels) - MAX_LABELS_SHOWN} more" if len(labels) > MAX_LABELS_SHOWN else "")


def _table(head: list[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table; the first cell of a row is text of ours or a name, the others are code."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, *values in rows:
        lines.append(
            "| " + " | ".join([_plain(name), *(_code(value).replace("|", "\\|") for value in values)]) + " |"
        )
    return lines


def _plain(text: str) -> str:
    """Text that can end neither its cell nor its line, nor begin markup."""
    return "".join(f"\\{one}" if one in "\\`*_{}[]<>#|" else one for one in " ".join(text.split()))


def _code(text: str) -> str:
    """A span of code that nothing in it can end."""
    text = " ".join(text.split()).replace("`", "'")
    return f"`{text}`" if text else ""


def _number(value: float) -> str:
    return f"{value:.4f}"

"""One drop, whatever is in it: through the functions that prepare data, to a sealed dataset or to a refusal.

The property that everything hostile is held against: what is accepted is sound and can be trained on, and what is
refused is refused by a DataError that says why and where. No other exception ever comes out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from functions.prepare_shard.units import prepare_unit, read_unit
from functions.seal_dataset.seal import seal
from functions.start_run.start import StartRun
from lehr import layout
from lehr.contracts.data_rules import SEGMENTATIONS
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.detection_rules import DETECTIONS
from lehr.contracts.recipe import Recipe, parse_recipe
from lehr.contracts.workflow import SealRequest, StartRequest
from lehr.errors import DataError, InsufficientDataError, RejectedDataError
from lehr_trainer.data import load_examples
from lehr_trainer.tables import load_table
from tests.fakes import InMemoryObjectStore, InMemoryRegistry
from tests.hostile.seeds import PROJECT

PII_KEY = "secret"
# Of a set as a whole nothing less can be said: the split or the labels that lack examples.
_NO_PLACE = (InsufficientDataError, RejectedDataError)


@dataclass(frozen=True)
class Outcome:
    """What became of a drop: accepted (perhaps with examples set aside) or refused, and with which words."""

    kind: str
    said: str = ""
    set_aside: int = 0


class UnsoundError(AssertionError):
    """Raised for what was accepted and cannot be trained on, or was refused without a reason and a place."""


class _Executions:
    """Starts whatever is asked for."""

    def arn_of(self, name: str) -> str:
        return f"arn:{name}"

    def start(self, name: str, body: bytes) -> tuple[str, bool]:
        return f"arn:{name}", True

    def is_running(self, arn: str) -> bool:
        return False

    def input_of(self, arn: str) -> bytes | None:
        return None


class RefusedStart(Exception):
    """Raised with the reason of a start that was refused."""


def take(recipe: str, files: Mapping[str, bytes], folder: Path) -> Outcome:
    """The outcome of a drop. Raises UnsoundError, and whatever else comes out that should not."""
    try:
        manifest, artifacts = sealed_drop(recipe, files)
    except RefusedStart as fault:
        return _refused(str(fault))
    except DataError as fault:
        if not isinstance(fault, _NO_PLACE) and not fault.place:
            raise UnsoundError(f"refused without a place: {fault}") from fault
        return _refused(str(fault), is_place_known=True)
    _check_shards(parse_recipe(recipe), manifest, artifacts, folder)
    lines = [raw for key, raw in artifacts.objects.items() if key.startswith("quarantine/")]
    set_aside = [msgspec.json.decode(line) for raw in lines for line in raw.splitlines()]
    for one in set_aside:
        if not one["file"] or not one["reason"]:
            raise UnsoundError(f"set aside without a reason or a place: {one}")
    return Outcome("accepted", set_aside=len(set_aside))


def sealed_drop(
    recipe: str, files: Mapping[str, bytes], registry: InMemoryRegistry | None = None
) -> tuple[DatasetManifest, InMemoryObjectStore]:
    """The dataset of a drop, with the store that it lies in. Raises RefusedStart, and what preparing and sealing do."""
    data = InMemoryObjectStore("data", {f"incoming/{PROJECT}/{name}": raw for name, raw in files.items()})
    artifacts = InMemoryObjectStore("artifacts")
    artifacts.objects[layout.project_head_key(PROJECT)] = b'{"code_sha": "c0de"}'
    artifacts.objects[f"{layout.project_prefix(PROJECT, 'c0de')}lehr.toml"] = recipe.encode()
    registry = registry or InMemoryRegistry()
    starter = StartRun(data=data, artifacts=artifacts, registry=registry, executions=_Executions())
    answer = starter.start(StartRequest(project=PROJECT, trigger="drop-1"))
    if answer.outcome != "started":
        raise RefusedStart(answer.reason)
    for unit in msgspec.json.decode(artifacts.objects[layout.plan_key(PROJECT, answer.run)]):
        prepare_unit(read_unit(unit), data, artifacts, PII_KEY)
    sealed = seal(SealRequest(project=PROJECT, run=answer.run), artifacts, registry)
    raw = artifacts.objects[layout.dataset_manifest_key(PROJECT, sealed.version)]
    return DatasetManifest.from_json(raw), artifacts


def _refused(said: str, *, is_place_known: bool = False) -> Outcome:
    """Raise UnsoundError for a refusal that names no place, or that is not for people."""
    if not is_place_known and (PROJECT not in said or said.startswith("projects/")):
        raise UnsoundError(f"refused without a place: {said}")
    if re.search(r"Traceback|object at 0x|<class |NoneType", said):
        raise UnsoundError(f"refused in the words of a program: {said}")
    if len(said) > 20_000:
        raise UnsoundError(f"refused in {len(said)} characters: {said[:200]}")
    return Outcome("refused", said)


def _check_shards(
    recipe: Recipe, manifest: DatasetManifest, artifacts: InMemoryObjectStore, folder: Path
) -> None:
    """Read everything that was sealed with the trainer's own readers, and hold it against the manifest."""
    prefix = layout.datasets_prefix(PROJECT)
    task = recipe.project.task
    for split in ("train", "validation", "test"):
        paths = []
        for number, shard in enumerate(one for one in manifest.shards if one.split == split):
            path = folder / f"{split}-{number}"
            path.write_bytes(artifacts.objects[prefix + shard.key])
            paths.append(path)
        examples: Any
        if manifest.of_table is not None:
            examples = load_table(paths, manifest.of_table, device="cpu")
        else:
            examples = load_examples(
                paths,
                input_shape=manifest.input_shape,
                classes=len(manifest.labels),
                device="cpu",
                residency="device",
                has_masks=task in SEGMENTATIONS,
                dtype=manifest.input_dtype,
                max_boxes=(recipe.data.max_boxes or 32) if task in DETECTIONS else 0,
            )
        rows = sum(shard.rows for shard in manifest.shards if shard.split == split)
        if len(examples) != rows:
            raise UnsoundError(f"{len(examples)} rows of {split} where the manifest says {rows}")
        if split != "validation" and not rows:
            raise UnsoundError(f"no rows of {split}")
        _check_targets(recipe, manifest, examples.labels.numpy(), split)
        if manifest.of_table is not None:
            _check_numbers(manifest, examples.images.numpy())


def _check_targets(recipe: Recipe, manifest: DatasetManifest, y: np.ndarray, split: str) -> None:
    task, classes = recipe.project.task, len(manifest.labels)
    if not np.isfinite(y).all():
        raise UnsoundError(f"a target of {split} is no number")
    if task in DETECTIONS:
        label, boxes = y[..., 0], y[..., 1:]
        given = boxes[label >= 0]
        is_sound = ((label >= -1) & (label < classes) & (label == np.rint(label))).all()
        if not is_sound or (given < 0).any() or (given[:, :2] + given[:, 2:] > 1 + 1e-5).any():
            raise UnsoundError(f"a box of {split} is none")
    elif task in SEGMENTATIONS:
        if not ((y < classes) | (y == 255)).all():
            raise UnsoundError(f"a pixel of {split} has no label")
    elif classes and not ((y >= 0) & (y < classes)).all():
        raise UnsoundError(f"a target of {split} is no label")
    if split == "train" and task not in (*DETECTIONS, *SEGMENTATIONS) and len(np.unique(y)) < classes:
        raise UnsoundError("a label has no training row")


def _check_numbers(manifest: DatasetManifest, x: np.ndarray) -> None:
    """A number is finite or missing, and what it is standardised by is finite; a column that is constant has 0."""
    table = manifest.of_table
    assert table is not None
    if np.isinf(x).any():
        raise UnsoundError("an input is infinite")
    moments = [(column.mean, column.std) for column in table.numbers]
    moments.append((table.target_mean, table.target_std))
    if not np.isfinite(moments).all() or moments[-1][1] <= 0:
        raise UnsoundError(f"means and spreads are {moments}")

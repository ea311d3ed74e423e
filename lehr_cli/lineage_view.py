"""How lineage looks on a terminal: a model above its data, a file above its models; and the same for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from lehr.erasure import Erasure
from lehr.lineage import ProjectLineage, RawFile

SPLITS = ("train", "validation", "test")
_SHOWN = 20


def model_lines(known: ProjectLineage, version: str) -> tuple[Text, dict[str, Any]]:
    """From a model back to the raw files."""
    dataset = known.models[version].dataset_version
    drawn = Text()
    _model(drawn, known, version, indent=0)
    for ancestor in known.ancestors(version):
        drawn.append("    started from ", "dim")
        _model(drawn, known, ancestor, indent=0)
    _dataset(drawn, known, dataset, indent=2)
    _files(drawn, known.raw.get(dataset, ()), indent=4)
    drawn.rstrip()
    return drawn, {
        "model": version,
        "started_from": known.ancestors(version),
        "dataset": dataset,
        "files": _keys(known.raw.get(dataset, ())),
    }


def dataset_lines(known: ProjectLineage, version: str) -> tuple[Text, dict[str, Any]]:
    """A dataset version with what it was made of, and what was made of it."""
    drawn = Text()
    _dataset(drawn, known, version, indent=0)
    _files(drawn, known.raw[version], indent=4)
    models = known.models_of([version])
    for model in models:
        _model(drawn, known, model, indent=2)
    drawn.rstrip()
    return drawn, {"dataset": version, "files": _keys(known.raw[version]), "models": models}


def file_lines(known: ProjectLineage, files: Sequence[RawFile]) -> tuple[Text, dict[str, Any]]:
    """From raw files to the models that learned from them."""
    drawn = Text()
    _files(drawn, files, indent=0)
    datasets = known.datasets_of(files)
    for dataset in datasets:
        _dataset(drawn, known, dataset, indent=2)
        for model in known.models_of([dataset]):
            _model(drawn, known, model, indent=4)
    drawn.rstrip()
    models = known.models_of(datasets)
    return drawn, {"files": _keys(files), "datasets": datasets, "models": models}


def erasure_lines(erasure: Erasure, *, is_former: bool) -> Text:
    """What an erasure takes."""
    drawn = Text(
        f"to forget {'what these files were before' if is_former else 'these files'}\n", style="bold"
    )
    _files(drawn, erasure.files, indent=4)
    runs = len(erasure.runs) + len(erasure.unknown_runs)
    unknown = (
        f", {len(erasure.unknown_runs)} of which no longer say what they read" if erasure.unknown_runs else ""
    )
    for count, what, names in (
        (len(erasure.datasets), "dataset version(s)", ", ".join(erasure.datasets[:5])),
        (len(erasure.shared), "shard(s) and list(s) that no other version has", ""),
        (len(erasure.models), "model version(s)", ", ".join(erasure.models[:5])),
        (runs, f"run(s) with their files and what they set aside{unknown}", ""),
    ):
        drawn.append(f"{count:>7,} {what}" + (f": {names}\n" if names else "\n"), "not bold")
    if erasure.is_serving:
        drawn.append("        the champion among them\n", "not bold yellow")
    drawn.rstrip()
    return drawn


def _model(drawn: Text, known: ProjectLineage, version: str, *, indent: int) -> None:
    record = known.models.get(version)
    serves = version == known.champion
    drawn.append(" " * indent)
    drawn.append(f"model {version}", "bold green" if serves else "bold")
    if record is None:
        drawn.append("  is no longer there\n", "dim")
        return
    drawn.append("  champion" if serves else "", "bold green")
    drawn.append(f"  {_moment(record.created_at)}  run {record.run}\n", "dim")


def _dataset(drawn: Text, known: ProjectLineage, version: str, *, indent: int) -> None:
    record = known.datasets.get(version)
    drawn.append(" " * indent)
    drawn.append(f"dataset {version}", "bold")
    if record is None:
        drawn.append("  is no longer there\n", "dim")
        return
    rows = ", ".join(f"{record.rows.get(split, 0):,} {split}" for split in SPLITS)
    drawn.append(f"  {rows}")
    drawn.append(f"  {_moment(record.created_at)}  run {record.run}\n", "dim")


def _files(drawn: Text, files: Sequence[RawFile], *, indent: int) -> None:
    width = max((len(file.key) for file in files[:_SHOWN]), default=0)
    for file in files[:_SHOWN]:
        drawn.append(f"{' ' * indent}{file.key:<{width}}  {file.bytes:>13,} B", "not bold")
        drawn.append(f"  {file.etag[:12]}\n", "not bold dim")
    if len(files) > _SHOWN:
        size = sum(file.bytes for file in files)
        drawn.append(f"{' ' * indent}and {len(files) - _SHOWN:,} more, {size:,} B in all\n", "not bold dim")


def _keys(files: Sequence[RawFile]) -> list[str]:
    return sorted({file.key for file in files})


def _moment(at: str) -> str:
    return at[:16].replace("T", " ")

"""What is left of a run that failed, looked up and not assumed: nobody should train again for want of knowing."""

from __future__ import annotations

import re
from typing import TypeVar

from lehr import layout
from lehr.contracts.data_checks import DataChecks
from lehr.contracts.document import Document
from lehr.contracts.sweep import Sweep
from lehr.errors import LehrError
from lehr.ports import ObjectStore

# States after which the alias may have moved already.
_AFTER_PROMOTION = {"WatchCanary", "RecordPromotion"}
_UNIT = re.compile(r"unit-\d{5,}\.json")
D = TypeVar("D", bound=Document)


def what_is_kept(project: str, run: str, state: str, artifacts: ObjectStore) -> list[str]:
    """Sentences on dataset, checkpoints, trained models, package and champion. Reads runs/<project>/<run>/ alone."""
    return [
        *_dataset(project, run, artifacts),
        *_training(project, run, artifacts),
        *_package(project, run, artifacts),
        "the champion may have been moved: see lehr runs"
        if state in _AFTER_PROMOTION
        else "the champion, if there is one, serves as before",
    ]


def _dataset(project: str, run: str, artifacts: ObjectStore) -> list[str]:
    checks = _read(DataChecks, layout.data_checks_key(project, run), artifacts)
    if checks is not None and checks.version:
        return [f"dataset version {checks.version}"]
    prefix = layout.prepared_prefix(project, run)
    names = [entry.key.removeprefix(prefix) for entry in artifacts.list(prefix)]
    prepared = sum(_UNIT.fullmatch(name) is not None for name in names)
    return [f"{prepared} prepared unit(s) of the data"] if prepared else []


def _training(project: str, run: str, artifacts: ObjectStore) -> list[str]:
    sweep = _read(Sweep, layout.sweep_key(project, run), artifacts)
    completed = [record for record in sweep.trials if record.status == "completed"] if sweep else []
    told = (
        [f"trained model of trial {', '.join(record.name for record in completed[:10])}"] if completed else []
    )
    prefix = layout.checkpoints_prefix(project, run)
    trials = {entry.key.removeprefix(prefix).split("/")[0] for entry in artifacts.list(prefix)}
    if trials:
        told.append(f"checkpoints of trial {', '.join(sorted(trials)[:10])}")
    return told


def _package(project: str, run: str, artifacts: ObjectStore) -> list[str]:
    prefix = layout.evaluations_prefix(project, run)
    pairings = {entry.key.removeprefix(prefix).split("/")[0] for entry in artifacts.list(prefix)}
    return [f"model package {name}" for name in sorted({pair.split("-vs-")[0] for pair in pairings})]


def _read(kind: type[D], key: str, artifacts: ObjectStore) -> D | None:
    try:
        return kind.from_json(artifacts.get(key))
    except (KeyError, LehrError):
        return None

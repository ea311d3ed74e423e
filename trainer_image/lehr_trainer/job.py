"""The training job as files: the only module that knows the /opt/ml contract.

    input/config/hyperparameters.json    [training] of the recipe with the trial's overrides, as strings
    input/config/inputdataconfig.json    the channels that the job declares
    input/config/resourceconfig.json     the hosts
    input/data/code/                     the pushed project: lehr.toml and the user's Python files
    input/data/manifest/manifest.json    DatasetManifest
    input/data/train/shard-*.safetensors and input/data/validation/, absent when nothing is held out
    input/data/initial/weights.safetensors   of the champion, where training starts from one
    model/                               what is published: model.onnx, weights.safetensors, signature.json,
                                         training.json
    checkpoints/                         survives a restart of the job
    output/failure                       why the job failed

LEHR_PROJECT, LEHR_RUN and LEHR_TRIAL say whose job it is, LEHR_INITIAL_VERSION whose weights are in `initial`. Every
shard's sha256 is compared with the manifest before a byte of it is used.

Contract of SageMaker: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lehr.contracts.dataset import DatasetManifest, Split
from lehr.contracts.package import WEIGHTS_FILE
from lehr.contracts.recipe import MODEL_PREFIX, RECIPE_FILE, Recipe, parse_recipe
from lehr.contracts.recipe_tables import Model, Training
from lehr.contracts.training import TrialSettings, read_hyperparameters, to_hyperparameters
from lehr.contracts.training_rules import refuse_misfits
from lehr.errors import ContractError, RecipeError
from lehr_trainer.errors import JobInputError

CONFIG = "input/config"
CHANNELS = "input/data"
FAILURE_FILE = "output/failure"
FAILURE_CHARACTERS = 1024


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training job, read and checked. `shards` are verified files in the manifest's order.

    `initial_weights` are those of the champion `initial_version`, None where training starts from random ones.
    The recipe's [model] is the trial's; training ends after `rung_epochs`, or all epochs if that is None, or at its
    wall: after `wall_s` seconds, or `last_update` updates.
    """

    project: str
    run: str
    trial: str
    training: Training
    rung_epochs: int | None = None
    wall_s: int | None = None
    last_update: int | None = None
    recipe: Recipe
    manifest: DatasetManifest
    shards: Mapping[Split, list[Path]]
    code_folder: Path
    model_folder: Path
    checkpoint_folder: Path
    initial_version: str = ""
    initial_weights: Path | None = None

    def fingerprint(self) -> str:
        """sha256 over everything that decides the weights, so that no checkpoint of another job is resumed."""
        decisive: dict[str, Any] = {
            "hyperparameters": to_hyperparameters(self.training),
            "model": msgspec.to_builtins(self.recipe.model),
            "dataset": self.manifest.sha256(),
            "code": {
                str(path.relative_to(self.code_folder)): _sha256(path)
                for path in sorted(self.code_folder.rglob("*"))
                if path.name == RECIPE_FILE or path.suffix == ".py"
            },
        }
        if self.initial_weights is not None:
            decisive["initial"] = _sha256(self.initial_weights)
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def code_folder(root: Path) -> Path:
    return root / CHANNELS / "code"


def read_job(root: Path, environ: Mapping[str, str]) -> Job:
    """Read the job under `root`. Raises JobInputError, or RecipeError for the project's lehr.toml."""
    project, run, trial = (_variable(environ, name) for name in ("LEHR_PROJECT", "LEHR_RUN", "LEHR_TRIAL"))
    recipe = read_recipe(root)
    manifest = _read_manifest(_channel_file(root, "manifest", "manifest.json"))
    for owner, name in ((RECIPE_FILE, recipe.project.name), ("manifest.json", manifest.project)):
        if name != project:
            raise JobInputError(f"is of project {name!r}, the job is of {project!r}", place=owner)
    if manifest.rows("train") == 0:
        raise JobInputError("lists no training rows", place="manifest.json")
    settings, model = _read_hyperparameters(root, recipe, manifest)
    initial_version = environ.get("LEHR_INITIAL_VERSION", "") if settings.training.start_from else ""
    return Job(
        project=project,
        run=run,
        trial=trial,
        training=settings.training,
        rung_epochs=settings.rung_epochs,
        wall_s=settings.wall_s,
        last_update=settings.last_update,
        recipe=msgspec.structs.replace(recipe, model=model),
        manifest=manifest,
        shards={
            "train": _verified_shards(root, manifest, "train"),
            "validation": _verified_shards(root, manifest, "validation"),
        },
        code_folder=code_folder(root),
        model_folder=root / "model",
        checkpoint_folder=root / "checkpoints",
        initial_version=initial_version,
        initial_weights=_channel_file(root, "initial", WEIGHTS_FILE) if initial_version else None,
    )


def read_recipe(root: Path) -> Recipe:
    """The project's lehr.toml. Raises JobInputError when it is missing, RecipeError for what is in it."""
    return parse_recipe(_channel_file(root, "code", RECIPE_FILE).read_text("utf-8"))


def read_hosts(root: Path) -> dict[str, Any]:
    """SageMaker's description of the hosts; empty if there is none."""
    return _read_config(root, "resourceconfig.json")


def clear_failure(root: Path) -> None:
    """Forget the reason of an earlier start of the job."""
    (root / FAILURE_FILE).unlink(missing_ok=True)


def write_failure(root: Path, reason: str, *, keep: bool = False) -> None:
    """Leave the reason where SageMaker takes its FailureReason from; it keeps the first 1,024 characters.

    With `keep` a reason that is there already stays: of several processes the first to fail knows why.
    """
    path = root / FAILURE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), path.open("x" if keep else "w", encoding="utf-8") as file:
        file.write(reason[:FAILURE_CHARACTERS])


def read_failure(root: Path) -> str:
    """The reason that a process has left, or nothing."""
    path = root / FAILURE_FILE
    return path.read_text("utf-8") if path.is_file() else ""


def _variable(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise JobInputError(f"the variable {name} is not set", hint="the state machine sets it for every job")
    return value


def _read_hyperparameters(
    root: Path, recipe: Recipe, manifest: DatasetManifest
) -> tuple[TrialSettings, Model]:
    name = "hyperparameters.json"
    place = f"{CONFIG}/{name}"
    if not (root / CONFIG / name).is_file():
        raise JobInputError("is missing", place=place)
    try:
        settings = read_hyperparameters(_read_config(root, name))
        changes = {f"{MODEL_PREFIX}{key}": value for key, value in settings.model.items()}
        _, model = recipe.converted(changes, place=place)
        refuse_misfits(
            settings.training,
            task=recipe.project.task,
            labels=len(manifest.labels),
            is_validated=manifest.rows("validation") > 0,
            place=place,
        )
    except RecipeError as fault:
        raise JobInputError(fault.message, place=fault.place, hint=fault.hint) from fault
    except ContractError as fault:
        raise JobInputError(str(fault), place=place) from fault
    return settings, model


def _read_config(root: Path, name: str) -> dict[str, Any]:
    """A JSON object of input/config. Only SageMaker writes the lesser ones: absent reads as empty."""
    path = root / CONFIG / name
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError as fault:
        raise JobInputError(f"is not JSON: {fault}", place=f"{CONFIG}/{name}") from fault
    if not isinstance(value, dict):
        raise JobInputError("is not a JSON object", place=f"{CONFIG}/{name}")
    return value


def _channel_file(root: Path, channel: str, name: str) -> Path:
    folder = root / CHANNELS / channel
    if not folder.is_dir():
        declared = ", ".join(sorted(_read_config(root, "inputdataconfig.json"))) or "none"
        raise JobInputError(
            f"the channel {channel!r} is missing", place=CHANNELS, hint=f"the job declares: {declared}"
        )
    if not (folder / name).is_file():
        raise JobInputError(f"the channel has no file {name!r}", place=f"{CHANNELS}/{channel}")
    return folder / name


def _read_manifest(path: Path) -> DatasetManifest:
    try:
        return DatasetManifest.from_json(path.read_bytes())
    except ContractError as fault:
        raise JobInputError(str(fault), place=f"{CHANNELS}/manifest/{path.name}") from fault


def _verified_shards(root: Path, manifest: DatasetManifest, split: Split) -> list[Path]:
    """The split's files. A channel holds them under the last part of the manifest's keys."""
    files = []
    for shard in manifest.shards:
        if shard.split != split:
            continue
        path = _channel_file(root, split, Path(shard.key).name)
        if _sha256(path) != shard.sha256:
            raise JobInputError(
                "is not the file of the manifest: its sha256 differs",
                place=f"{CHANNELS}/{split}/{path.name}",
                hint="prepare the dataset again",
            )
        files.append(path)
    return files


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""From training artifacts to a published model package, and the plan of its evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from functions.package_model.card import write_card
from lehr import layout
from lehr.clock import now
from lehr.contracts.comparison import Slicing
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.evaluation import EvaluateUnit
from lehr.contracts.package import (
    CARD_FILE,
    LINEAGE_FILE,
    PACKAGE_FILE,
    REFERENCE_FILE,
    SIGNATURE_FILE,
    TRAINING_FILE,
    Lineage,
    ModelPackage,
    PackagedFile,
    Signature,
)
from lehr.contracts.profile import DatasetStatistics
from lehr.contracts.provenance import PROVENANCE_FILE, Statement
from lehr.contracts.recipe import Recipe
from lehr.contracts.registry import Alias, ModelRecord
from lehr.contracts.sweep import Sweep, TrialRecord
from lehr.contracts.training import TrainingSummary
from lehr.contracts.workflow import PackagedModel, PackageRequest, S3Location
from lehr.costs import planned_shards, record_cost, run_cost, trial_costs
from lehr.errors import NoCompletedTrialError, OverwriteError
from lehr.function_types import memory_of
from lehr.model_archive import fetch_archive
from lehr.ports import ModelRegistry, ObjectStore, PackageSigner
from lehr.prices import load_prices
from lehr.provenance import is_signed_as, sign, state
from lehr.references import reference_of
from lehr.slicing import needs_statistics, plan_slices

# From the trained files to those to publish beside them.
Prepare = Callable[[dict[str, bytes]], dict[str, bytes]]


def package_best_trial(
    request: PackageRequest,
    artifacts: ObjectStore,
    registry: ModelRegistry,
    prepare: Prepare,
    signer: PackageSigner | None = None,
) -> PackagedModel:
    """Publish the best trial of the sweep as the candidate, signed if there is a signer.

    Raises NoCompletedTrialError if there is none.
    """
    sweep = Sweep.from_json(artifacts.get(layout.sweep_key(request.project, request.run)))
    _record_cost(request, sweep, artifacts, registry)
    if not sweep.best:
        causes = "; ".join(f"trial {record.name}: {record.reason}" for record in sweep.trials)
        raise NoCompletedTrialError(causes or "the run had no trials")
    best = sweep.record(sweep.best)
    files = fetch_archive(best.result, artifacts)
    registry.set_run_trial(request.project, request.run, best.id, sweep.count)
    manifest = DatasetManifest.from_json(
        artifacts.get(layout.dataset_manifest_key(request.project, request.dataset_version))
    )
    version = _publish(request, sweep, best, files | prepare(files), manifest, artifacts, registry, signer)
    champion, generation = _to_meet(registry.alias(request.project), request, version)
    return PackagedModel(
        version=version,
        trial=best.id,
        champion=champion,
        generation=generation,
        plan=_plan_evaluation(request, version, champion, manifest, artifacts),
    )


def _to_meet(alias: Alias | None, request: PackageRequest, version: str) -> tuple[str | None, int]:
    """The champion that the candidate is judged against, and its generation.

    A run whose promotion was done and whose reply was lost may come here again: against itself it would be a tie, so
    it meets the one that it has replaced, at the generation of then. Its promotion is recognised by its owner.
    """
    if alias is None:
        return None, 0
    if (alias.owner, alias.champion) == (request.run, version):
        return alias.previous, alias.generation - 1
    return alias.champion, alias.generation


def _record_cost(
    request: PackageRequest, sweep: Sweep, artifacts: ObjectStore, registry: ModelRegistry
) -> None:
    """First of all, so that a run whose packaging fails has its cost too: the training is billed in any case."""
    prices = load_prices()
    cost = run_cost(
        request.project,
        request.run,
        [
            cost
            for record in sweep.trials
            for cost in trial_costs(
                record.result, request.instance_type, prices, instance_count=request.instance_count
            )
        ],
        prices,
        shards=planned_shards(artifacts, request.project, request.run),
        rounds=sweep.rounds,
        # What a warm pool is billed for is known when it has ended, and by then the run has.
        is_complete=request.keep_alive_s == 0,
    )
    record_cost(cost, artifacts, registry)


def _publish(
    request: PackageRequest,
    sweep: Sweep,
    best: TrialRecord,
    trained: dict[str, bytes],
    manifest: DatasetManifest,
    artifacts: ObjectStore,
    registry: ModelRegistry,
    signer: PackageSigner | None,
) -> str:
    """Write the package under the version that its own bytes give it; package.json last.

    Each file is written once: an attempt that finds those of the one before goes on, and none changes any. Raises
    OverwriteError if a file of other bytes is there.
    """
    result = best.result
    hyperparameters = best.hyperparameters
    lineage = Lineage(
        project=request.project,
        run=request.run,
        trial=best.id,
        trials=sweep.count,
        search=sweep.search,
        dataset_version=request.dataset_version,
        code_sha=request.code_sha,
        training_job=result.job,
        image=result.image,
        # An image has its own trainer in it, whatever was published for jobs.
        trainer_version="" if memory_of(result.instance_type) else request.trainer_version,
        initial_version=request.initial_version if "start_from" in hyperparameters else "",
        instance_type=result.instance_type or request.instance_type,
        hyperparameters=hyperparameters,
    )
    summary = TrainingSummary.from_json(trained[TRAINING_FILE])
    card = write_card(Signature.from_json(trained[SIGNATURE_FILE]), summary, lineage, manifest)
    files = trained | {LINEAGE_FILE: lineage.to_json(), CARD_FILE: card} | _reference(request, artifacts)
    package = ModelPackage(
        project=request.project,
        files={
            name: PackagedFile(sha256=hashlib.sha256(body).hexdigest(), bytes=len(body))
            for name, body in sorted(files.items())
        },
    )
    version = package.version
    for name, body in files.items():
        artifacts.put_once(layout.model_file_key(request.project, version, name), body)
    if signer:
        _sign(state(package, lineage, summary, manifest), signer, artifacts)
    artifacts.put_once(
        layout.model_file_key(request.project, version, PACKAGE_FILE),
        package.to_json(),
        content_type="application/json",
    )
    registry.add_model(
        ModelRecord(
            project=request.project,
            version=version,
            run=request.run,
            dataset_version=request.dataset_version,
            created_at=now(),
            package_sha256=package.sha256(),
            trial=best.id,
            trials=sweep.count,
        )
    )
    return version


def _sign(statement: Statement, signer: PackageSigner, artifacts: ObjectStore) -> None:
    """Write the signature beside the package, once: of the same statement a second one would have other bytes.

    Raises OverwriteError if something else is there.
    """
    said = statement.predicate
    key = layout.model_file_key(said.project, said.version, PROVENANCE_FILE)
    try:
        artifacts.put_once(key, sign(statement, signer), content_type="application/json")
    except OverwriteError:
        if not is_signed_as(statement, artifacts.get(key)):
            raise


def _reference(request: PackageRequest, artifacts: ObjectStore) -> dict[str, bytes]:
    """reference.json, or nothing of a dataset version from before there were statistics."""
    key = layout.dataset_statistics_key(request.project, request.dataset_version)
    try:
        statistics = DatasetStatistics.from_json(artifacts.get(key))
    except KeyError:
        return {}
    return {REFERENCE_FILE: reference_of(statistics).to_json()}


def _plan_evaluation(
    request: PackageRequest,
    candidate: str,
    champion: str | None,
    manifest: DatasetManifest,
    artifacts: ObjectStore,
) -> S3Location:
    """One unit per test shard; each shard's key becomes the full key in the bucket."""
    prefix = layout.datasets_prefix(request.project)
    shards = [
        msgspec.structs.replace(shard, key=prefix + shard.key)
        for shard in manifest.shards
        if shard.split == "test"
    ]
    slices = _planned_slices(request, artifacts)
    units = [
        EvaluateUnit(
            project=request.project,
            run=request.run,
            index=index,
            of=len(shards),
            shard=shard,
            candidate=candidate,
            champion=champion,
            slices=slices,
        )
        for index, shard in enumerate(shards)
    ]
    key = layout.evaluation_plan_key(request.project, request.run, candidate, champion)
    artifacts.put(key, msgspec.json.encode(units), content_type="application/json")
    return S3Location(bucket=artifacts.bucket, key=key)


def _planned_slices(request: PackageRequest, artifacts: ObjectStore) -> list[Slicing]:
    recipe = Recipe.from_json(artifacts.get(layout.recipe_key(request.project, request.run)))
    if not needs_statistics(recipe):
        return plan_slices(recipe, None)
    key = layout.dataset_statistics_key(request.project, request.dataset_version)
    return plan_slices(recipe, DatasetStatistics.from_json(artifacts.get(key)))

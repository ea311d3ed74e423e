"""The verdict on a version's data, written before the version is: all checks, also those that passed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from functions.seal_dataset.screening import Screened
from functions.seal_dataset.statistics import champion_statistics, choose_samples, describe_dataset
from lehr import layout
from lehr.contracts.data_checks import DataChecks, RefusedUnit
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.document import Document
from lehr.contracts.recipe import Recipe
from lehr.data_checks import check_statistics, refuse_rejected
from lehr.ports import ModelRegistry, ObjectStore


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a version is judged by: `counts` are each unit's rows by category and value, `refused` the rows that could
    not be read, by the object that lists them."""

    manifest: DatasetManifest
    screened: Screened
    counts: list[dict[str, dict[str, int]]] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)


def vouch(
    recipe: Recipe,
    run: str,
    version: str,
    evidence: Evidence,
    artifacts: ObjectStore,
    registry: ModelRegistry,
) -> dict[str, Document]:
    """Write checks.json of the run; returns the documents of the version, by key. Raises RejectedDataError."""
    project, screened = recipe.project.name, evidence.screened
    results = list(screened.findings)
    documents: dict[str, Document] = {}
    compared_with = ""
    if screened.profiles is not None:
        statistics = describe_dataset(evidence.manifest, screened.profiles, evidence.counts)
        compared_with, champion = champion_statistics(project, artifacts, registry)
        outside: Counter[str] = Counter()
        for profile in screened.profiles:
            outside.update(profile.out_of_range)
        results += check_statistics(recipe.checks, statistics, out_of_range=outside, champion=champion)
        documents = {
            layout.dataset_statistics_key(project, version): statistics,
            layout.dataset_samples_key(project, version): choose_samples(
                evidence.manifest, screened.profiles
            ),
        }
    is_rejected = any(one.verdict == "rejected" for one in results)
    checks = DataChecks(
        project=project,
        run=run,
        version="" if is_rejected else version,
        compared_with=compared_with,
        results=results,
        refused=[RefusedUnit(key=key, rows=rows) for key, rows in evidence.refused.items() if rows],
        set_aside=screened.set_aside,
    )
    artifacts.put(layout.data_checks_key(project, run), checks.to_json(), content_type="application/json")
    refuse_rejected(results, place=project)
    return documents

"""The plan of a run, whatever its data is: units, the calls that share them out, and what they need in S3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import msgspec

from functions.start_run.archived import named_archives
from functions.start_run.calls import plan_calls, seconds_of_files, seconds_of_pairs, seconds_of_tables
from functions.start_run.examples import example_files
from functions.start_run.files import plan_files
from functions.start_run.plan import named_files, plan_units
from functions.start_run.tables import plan_table, refuse_another_table, shards_to_evaluate, table_files
from lehr import layout
from lehr.contracts.data_rules import FILES, is_table
from lehr.contracts.dataset import PrepareUnit
from lehr.contracts.document import Document
from lehr.contracts.file_units import PrepareFilesUnit
from lehr.contracts.prepare_calls import PrepareCall
from lehr.contracts.recipe import Recipe
from lehr.contracts.table_units import PrepareTableUnit
from lehr.ports import ModelRegistry, ObjectStore, StoredObject
from lehr.table_plans import share_table

# Connections that boto3 keeps.
_WRITTEN_AT_ONCE = 10


@dataclass(frozen=True)
class Planned:
    """Units of preparation, the calls that share them out (none: one each), how much they are, the shards to evaluate
    at most, and what goes into S3 beside them.
    """

    units: Sequence[PrepareUnit] | Sequence[PrepareTableUnit] | Sequence[PrepareFilesUnit]
    calls: Sequence[PrepareCall]
    amount: str
    shards: int
    documents: Mapping[str, Document] = field(default_factory=dict)


def names_of(recipe: Recipe, present: Sequence[str]) -> list[str]:
    """The files that the recipe names, and the archives that others of them lie in."""
    return sorted({*_files_of(recipe, present), *named_archives(recipe.data, present)})


def _files_of(recipe: Recipe, present: Sequence[str]) -> list[str]:
    if is_table(recipe.project.task):
        return table_files(recipe.data, present)
    if recipe.data.format in FILES:
        return example_files(recipe.data, present)
    return named_files(recipe.data)


def plan_run(
    recipe: Recipe,
    raw: dict[str, StoredObject],
    run: str,
    data: ObjectStore,
    artifacts: ObjectStore,
    registry: ModelRegistry,
) -> Planned:
    """Check the data and cut it into units. Raises DataError's children."""
    if is_table(recipe.project.task):
        plan, inferred = plan_table(recipe, raw, data, run)
        refuse_another_table(inferred.schema, recipe.project.name, registry, artifacts)
        files = len({unit.file.key for unit in plan})
        table_units, shared = share_table(plan)
        amount = f"{files} file(s) in {len(plan)} units" if len(plan) > files else f"{files} file(s)"
        return Planned(
            table_units,
            plan_calls(plan, seconds_of_tables(plan)),
            f"{amount} with {inferred.summary}",
            max(files, shards_to_evaluate(plan, inferred)),
            shared,
        )
    if recipe.data.format in FILES:
        listed = plan_files(recipe, raw, data, run)
        calls = plan_calls(listed.units, seconds_of_files(list(listed.lists.values())))
        documents = {**listed.lists, **listed.versions}
        return Planned(listed.units, calls, listed.summary, len(listed.units), documents)
    units = plan_units(recipe, raw, data, run)
    rows = sum(unit.count for unit in units)
    calls = plan_calls(units, seconds_of_pairs(units))
    return Planned(units, calls, f"{rows} rows in {len(units)} units", len(units))


def write_plan(planned: Planned, project: str, run: str, artifacts: ObjectStore) -> str:
    """Put the plan where the units find it; returns the key of the Map's items."""
    with ThreadPoolExecutor(_WRITTEN_AT_ONCE) as pool:
        list(pool.map(partial(_write, artifacts), planned.documents.items()))
    plan_key = layout.plan_key(project, run)
    artifacts.put(plan_key, msgspec.json.encode(planned.units), content_type="application/json")
    if not planned.calls:
        return plan_key
    calls_key = layout.calls_key(project, run)
    artifacts.put(calls_key, msgspec.json.encode(planned.calls), content_type="application/json")
    return calls_key


def _write(artifacts: ObjectStore, document: tuple[str, Document]) -> None:
    artifacts.put(document[0], document[1].to_json(), content_type="application/json")

"""Planning of a table: which files it is, what its columns are, and one unit of work for each file."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from math import ceil

from functions.start_run.ranges import refuse_foreign_ranges
from lehr import layout
from lehr.contracts.data_rules import DEFAULT_MAX_REFUSED_FRACTION, DEFAULT_TEST_FRACTION
from lehr.contracts.dataset import ObjectRef
from lehr.contracts.package import SIGNATURE_FILE, Signature
from lehr.contracts.recipe import Recipe
from lehr.contracts.recipe_tables import Data
from lehr.contracts.table_units import PrepareTableUnit
from lehr.contracts.tables import TableSchema
from lehr.errors import ContractError, MalformedDataError, MismatchedDataError, MissingDataError
from lehr.layout import READY, incoming_prefix
from lehr.ports import ModelRegistry, ObjectStore, StoredObject
from lehr.table_difference import WAY_OUT, table_difference
from lehr.table_schema import SAMPLE_BYTES, Inferred, infer_schema

# Text of a file, its cells and its arrays are in the function's memory together.
MAX_FILE_BYTES = 256 << 20
# Step Functions passes 256 KiB to a call, of which the schema of the table is nearly all.
MAX_UNIT_BYTES = 224 << 10


def table_files(data: Data, names: Sequence[str]) -> list[str]:
    """The names that `files` and `test_files` mean: what is there by that name or fits that pattern, in order."""
    return sorted({*_matching(data.files, names), *_matching(data.test_files, names)})


def plan_table(
    recipe: Recipe, raw: dict[str, StoredObject], data: ObjectStore, run: str
) -> tuple[list[PrepareTableUnit], Inferred]:
    """One unit for each file, all with the schema of the first. Raises DataError's children."""
    project, said = recipe.project.name, recipe.data
    training = _matching(said.files, list(raw))
    test = _matching(said.test_files, list(raw))
    wanted = [pattern for pattern in (*said.files, *said.test_files) if not _matching([pattern], list(raw))]
    if wanted:
        raise MissingDataError(
            f"{', '.join(wanted)} not found",
            place=data.uri(incoming_prefix(project)),
            hint=f"upload what data.files names, then {READY}",
        )
    both = sorted(set(training) & set(test))
    if both:
        raise MissingDataError(
            f"{both[0]} is named by data.files and by data.test_files",
            place=data.uri(incoming_prefix(project)),
            hint="no row may be learnt from and tested on: let one of them not match it",
        )
    for name in (*training, *test):
        if raw[name].bytes > MAX_FILE_BYTES:
            raise MalformedDataError(
                f"has {raw[name].bytes} bytes, more than {MAX_FILE_BYTES}",
                place=data.uri(raw[name].key),
                hint="cut it into several files, each with the header",
            )
    first = raw[training[0]]
    start = data.get_start(first.key, SAMPLE_BYTES)
    inferred = infer_schema(recipe, start, is_whole=len(start) == first.bytes, place=data.uri(first.key))
    refuse_foreign_ranges(recipe, inferred.schema, place=data.uri(first.key))
    names = [*training, *test]
    units = [
        PrepareTableUnit(
            project=project,
            run=run,
            index=index,
            of=len(names),
            file=_ref(data, raw[name]),
            table=inferred.schema,
            is_test=index >= len(training),
            seed=said.seed,
            validation_fraction=said.validation_fraction,
            test_fraction=0.0 if test else _or(said.test_fraction, DEFAULT_TEST_FRACTION),
            rows_per_shard=said.rows_per_shard,
            max_refused_fraction=_or(said.max_refused_fraction, DEFAULT_MAX_REFUSED_FRACTION),
            ranges=recipe.checks.ranges,
            refuses_out_of_range=recipe.checks.out_of_range == "quarantine",
        )
        for index, name in enumerate(names)
    ]
    size = max(len(unit.to_json()) for unit in units)
    if size > MAX_UNIT_BYTES:
        raise MalformedDataError(
            f"has {len(inferred.schema.columns)} columns, which a unit of work has no room for: {size} bytes, more "
            f"than {MAX_UNIT_BYTES}",
            place=data.uri(first.key),
            hint='leave columns out with data.columns: "ignore", or give them shorter names',
        )
    return units, inferred


def shards_to_evaluate(plan: Sequence[PrepareTableUnit], inferred: Inferred) -> int:
    """How many shards the test will have if all files are as the start of the first: what a budget is held against."""
    shards = 0
    for unit in plan:
        share = 1.0 if unit.is_test else unit.test_fraction
        shards += ceil(unit.file.bytes * inferred.rows_per_byte * share / unit.rows_per_shard)
    return shards


def refuse_another_table(
    schema: TableSchema, project: str, registry: ModelRegistry, artifacts: ObjectStore
) -> None:
    """Raise MismatchedDataError for a table that the champion cannot be judged on: before anything is trained."""
    alias = registry.alias(project)
    if alias is None:
        return
    try:
        raw = artifacts.get(layout.model_file_key(project, alias.champion, SIGNATURE_FILE))
        signature = Signature.from_json(raw)
    except (KeyError, ContractError):  # what is wrong with a champion is the evaluation's to say
        return
    if signature.of_table is None:
        difference = "what they take: the champion takes no table"
    elif signature.labels != schema.labels:
        difference = "their labels"
    else:
        difference = table_difference(signature.of_table, schema)
    if difference:
        raise MismatchedDataError(
            f"champion {alias.champion} and this table differ in {difference}: no model of it could be judged against "
            "the champion",
            place=project,
            hint=WAY_OUT,
        )


def _matching(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _ref(data: ObjectStore, entry: StoredObject) -> ObjectRef:
    return ObjectRef(bucket=data.bucket, key=entry.key, etag=entry.etag, bytes=entry.bytes)

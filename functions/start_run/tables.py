"""Planning of a table: which files it is, what its columns are, and its units of work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import ceil

from functions.start_run.archived import matching, with_members
from functions.start_run.pins import pin, read_start
from functions.start_run.ranges import refuse_foreign_ranges
from functions.start_run.table_cuts import cut_parquet, cut_text
from lehr import layout
from lehr.contracts.data_rules import DEFAULT_MAX_REFUSED_FRACTION, DEFAULT_TEST_FRACTION
from lehr.contracts.data_tables import Data
from lehr.contracts.package import SIGNATURE_FILE, Signature
from lehr.contracts.recipe import Recipe
from lehr.contracts.table_units import PrepareTableUnit, TableFormat
from lehr.contracts.tables import TableSchema
from lehr.errors import ContractError, MalformedDataError, MismatchedDataError, MissingDataError
from lehr.layout import READY, incoming_prefix
from lehr.parquet_footer import read_footer
from lehr.ports import ModelRegistry, ObjectStore, StoredObject
from lehr.table_difference import WAY_OUT, table_difference
from lehr.table_schema import SAMPLE_BYTES, Inferred, infer_schema, infer_typed_schema

# Every shard is a handful of requests, and a call of evaluate_shard where it is of the test.
SHARD_BYTES = 48 << 20
MIN_ROWS_PER_SHARD = 20_000


def table_files(data: Data, names: Sequence[str]) -> list[str]:
    """The names that `files` and `test_files` mean: what is there by that name or fits that pattern, in order."""
    return sorted({*matching(data.files, names), *matching(data.test_files, names)})


def plan_table(
    recipe: Recipe, raw: dict[str, StoredObject], data: ObjectStore, run: str
) -> tuple[list[PrepareTableUnit], Inferred]:
    """Units of work for all files, with the schema of the first. Raises DataError's children."""
    project, said = recipe.project.name, recipe.data
    raw, data = with_members(said, raw, data)
    table_format = table_format_of(said)
    training = matching(said.files, list(raw))
    test = matching(said.test_files, list(raw))
    wanted = [pattern for pattern in (*said.files, *said.test_files) if not matching([pattern], list(raw))]
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
    names = [*training, *test]
    tested = {raw[name].key for name in test}
    if table_format == "parquet":
        inferred, cuts = _plan_parquet(recipe, [raw[name] for name in names], data)
    else:
        inferred = _infer(recipe, raw[training[0]], data)
        cuts = [(raw[name], *cut) for name in names for cut in cut_text(raw[name], data)]
    refuse_foreign_ranges(recipe, inferred.schema, place=data.uri(raw[training[0]].key))
    units = [
        PrepareTableUnit(
            project=project,
            run=run,
            index=index,
            of=len(cuts),
            file=pin(entry, data),
            format=table_format,
            first=first,
            count=count,
            table=inferred.schema,
            is_test=entry.key in tested,
            seed=said.seed,
            validation_fraction=said.validation_fraction,
            test_fraction=0.0 if test else _or(said.test_fraction, DEFAULT_TEST_FRACTION),
            rows_per_shard=said.rows_per_shard or _rows_of_shard(inferred.schema),
            max_refused_fraction=_or(said.max_refused_fraction, DEFAULT_MAX_REFUSED_FRACTION),
            ranges=recipe.checks.ranges,
            refuses_out_of_range=recipe.checks.out_of_range == "quarantine",
        )
        for index, (entry, first, count) in enumerate(cuts)
    ]
    return units, inferred


def _rows_of_shard(schema: TableSchema) -> int:
    """As many as SHARD_BYTES hold: of a unit of text, mostly all that one split has of it."""
    row_bytes = 4 * (len(schema.columns) + 1)
    return max(MIN_ROWS_PER_SHARD, SHARD_BYTES // row_bytes)


def _infer(recipe: Recipe, first: StoredObject, data: ObjectStore) -> Inferred:
    start = read_start(first, SAMPLE_BYTES, data)
    return infer_schema(recipe, start, is_whole=len(start) == first.bytes, place=data.uri(first.key))


def _plan_parquet(
    recipe: Recipe, entries: Sequence[StoredObject], data: ObjectStore
) -> tuple[Inferred, list[tuple[StoredObject, int, int]]]:
    """The schema, as the first file has it in its footer, and the units of all files."""
    described = [read_footer(pin(entry, data), data) for entry in entries]
    kinds = {column.name: column.kind for column in described[0].columns.values()}
    place = data.uri(entries[0].key)
    inferred = infer_typed_schema(recipe, kinds, rows=described[0].rows, size=entries[0].bytes, place=place)
    wanted = [*(column.name for column in inferred.schema.columns), inferred.schema.target]
    cuts = [
        (entry, *cut)
        for entry, one in zip(entries, described, strict=True)
        for cut in cut_parquet(one, wanted, data.uri(entry.key))
    ]
    if not cuts:
        raise MalformedDataError("has no rows", place=place)
    return inferred, cuts


def shards_to_evaluate(plan: Sequence[PrepareTableUnit], inferred: Inferred) -> int:
    """How many shards the test will have if all files are as the start of the first: what a budget is held against."""
    shards = 0
    units_of = Counter(unit.file.key for unit in plan)
    for unit in plan:
        share = 1.0 if unit.is_test else unit.test_fraction
        rows = unit.file.bytes / units_of[unit.file.key] * inferred.rows_per_byte
        shards += ceil(rows * share / unit.rows_per_shard)
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


def table_format_of(data: Data) -> TableFormat:
    """The recipe's format, which is one of a table's."""
    if data.format == "jsonl" or data.format == "parquet":
        return data.format
    return "csv"


def _or(value: float | None, default: float) -> float:
    return default if value is None else value

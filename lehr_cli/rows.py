"""A row of a project's own test data, ready to be sent: the quickest way to ask a model something real."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice

from lehr import layout
from lehr.contracts.data_rules import FILES
from lehr.contracts.recipe import Recipe
from lehr.contracts.tables import ColumnKind, TableSchema
from lehr.csv_rows import iterate_rows, read_header
from lehr.errors import MissingDataError, UserError
from lehr.file_formats import is_archive_name, split_member
from lehr.idx import is_gzipped, parse_header
from lehr.jsonl_rows import Cell, jsonl_objects
from lehr.number_cells import read_number
from lehr.ports import ObjectStore, StoredObject
from lehr.pushed import read_pushed
from lehr.table_schema import SAMPLE_BYTES, infer_schema
from lehr_cli.stack import Stack

_HEADER_BYTES = 64
# As much as a gzip file of a table may have; plain text may have any size.
MAX_READ_BYTES = 256 << 20


@dataclass(frozen=True, kw_only=True)
class Row:
    """An image as grey levels, or a table's cells by name, and what the data says of it; `file` is a table's."""

    number: int
    label: str
    pixels: list[list[int]] = field(default_factory=list)
    cells: dict[str, float | str | None] = field(default_factory=dict)
    file: str = ""


def test_row(stack: Stack, project: str, number: int) -> Row:
    """Row `number` of the test split as it was dropped. Raises UserError when there is no such row."""
    recipe = pushed_recipe(stack.artifacts, project)
    if recipe.data.format in FILES:
        raise UserError(
            "the test data has no rows: its examples are files",
            hint="ask with --image FILE, which may be one of them",
        )
    prefix = layout.incoming_prefix(project)
    if recipe.data.format in FILES:
        raise UserError(
            f"the data of {project} has no rows: each example is a file",
            hint="send one of them: --audio FILE for a recording, --input FILE for JSON",
        )
    if recipe.data.test is None:
        return _table_row(stack.data, recipe, prefix, number)
    files = recipe.data.test
    images = _read(stack.data, prefix + files.images)
    labels = _read(stack.data, prefix + files.labels)
    image_header = parse_header(images[:_HEADER_BYTES], place=files.images)
    label_header = parse_header(labels[:_HEADER_BYTES], place=files.labels)
    if len(image_header.shape) != 3:
        raise UserError("does not hold grey images", place=files.images)
    rows, height, width = image_header.shape
    if not 0 <= number < min(rows, label_header.shape[0]):
        raise UserError(f"the test data has rows 0 to {rows - 1}, not {number}")
    start = image_header.offset + number * height * width
    pixels = [list(images[at : at + width]) for at in range(start, start + height * width, width)]
    return Row(number=number, pixels=pixels, label=recipe.data.labels[labels[label_header.offset + number]])


def _table_row(data: ObjectStore, recipe: Recipe, prefix: str, number: int) -> Row:
    """Row `number` of the first file of the test, or of all if the test has no files of its own."""
    if recipe.data.format == "parquet":
        raise UserError(
            "rows of Parquet cannot be taken out here",
            hint="give one yourself: lehr predict PROJECT --input FILE",
        )
    entries = sorted(data.list(prefix), key=lambda entry: entry.key)
    first = _first_of(entries, prefix, recipe.data.files)
    # As start_run does it: of other rows, a column could seem to be of another kind than the model was taught.
    start = data.get_start(first.key, SAMPLE_BYTES)
    schema = infer_schema(recipe, start, is_whole=len(start) == first.bytes, place=first.key).schema
    key = _first_of(entries, prefix, recipe.data.test_files).key if recipe.data.test_files else first.key
    name = key.removeprefix(prefix)
    try:
        text = _start(data, key).decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise UserError("is not UTF-8", place=name) from fault
    found = next(islice(_rows(text, recipe.data.format, schema, name), number, None), None)
    if found is None:
        raise UserError(f"{name} has no row {number}")
    try:
        header, given = found[1]
        cells = dict(zip(header, given, strict=True))
        values = {column.name: _value(cells[column.name], column.kind, schema) for column in schema.columns}
        label = str(cells[schema.target]).strip()
    except (ValueError, KeyError) as fault:
        raise UserError(
            f"row {number} cannot be read: {fault}",
            place=f"{name}, line {found[0]}",
            hint="ask for another row",
        ) from fault
    return Row(number=number, cells=values, label=label, file=name)


def _rows(
    text: str, data_format: str, schema: TableSchema, name: str
) -> Iterator[tuple[int, tuple[list[str], Sequence[Cell]]]]:
    """The line of each row, with the names of the columns and what they hold."""
    if data_format == "jsonl":
        names = [*(column.name for column in schema.columns), schema.target]
        for line, one in jsonl_objects(text):
            yield line, (names, [one.get(column) for column in names])
        return
    rows = iterate_rows(text, schema.delimiter, place=name)
    header = read_header(next(rows, (1, []))[1], place=name)
    for line, cells in rows:
        yield line, (header, cells)


def _first_of(entries: Sequence[StoredObject], prefix: str, patterns: Sequence[str]) -> StoredObject:
    archives = [(split_member(pattern) or (pattern,))[0] for pattern in patterns]
    for entry in entries:
        name = entry.key.removeprefix(prefix)
        if is_archive_name(name) and any(fnmatchcase(name, pattern) for pattern in archives):
            raise UserError(
                "rows of archives cannot be taken out here",
                place=name,
                hint="give one yourself: lehr predict PROJECT --input FILE",
            )
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return entry
    raise MissingDataError("is not in the bucket", place=prefix + patterns[0], hint="drop the data first")


def _value(cell: Cell, kind: ColumnKind, schema: TableSchema) -> float | str | None:
    text = str(cell).strip()
    if cell is None or text in schema.missing:
        return None
    if kind != "number":
        return text
    try:
        return read_number(text)
    except ValueError as fault:
        raise ValueError(f"{text[:40]!r} is no number within float32") from fault


def pushed_recipe(artifacts: ObjectStore, project: str) -> Recipe:
    """The recipe of the project's last push."""
    return read_pushed(artifacts, project)[1]


def _start(data: ObjectStore, key: str) -> bytes:
    """The text of a file, of a large one the rows at its start."""
    body = data.get_start(key, MAX_READ_BYTES)
    if is_gzipped(body):
        return gzip.decompress(body)
    return body if len(body) < MAX_READ_BYTES else body[: body.rfind(b"\n") + 1]


def _read(data: ObjectStore, key: str) -> bytes:
    try:
        body = data.get(key)
    except KeyError as fault:
        raise MissingDataError(
            "is not in the bucket", place=key, hint="drop the data first, or give a request with --input"
        ) from fault
    return gzip.decompress(body) if is_gzipped(body) else body

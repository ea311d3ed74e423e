"""A row of a project's own test data, ready to be sent: the quickest way to ask a model something real."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice

from lehr import layout
from lehr.contracts.recipe import RECIPE_FILE, Recipe, parse_recipe
from lehr.csv_rows import iterate_rows, read_header
from lehr.errors import MissingDataError, UnknownProjectError, UserError
from lehr.idx import is_gzipped, parse_header
from lehr.number_cells import read_number
from lehr.ports import ObjectStore
from lehr.table_schema import infer_schema
from lehr_cli.stack import Stack

_HEADER_BYTES = 64


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
    prefix = layout.incoming_prefix(project)
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
    patterns = recipe.data.test_files or recipe.data.files
    names = sorted(entry.key.removeprefix(prefix) for entry in data.list(prefix))
    name = next((one for one in names if any(fnmatchcase(one, pattern) for pattern in patterns)), None)
    if name is None:
        raise MissingDataError("is not in the bucket", place=prefix + patterns[0], hint="drop the data first")
    raw = _read(data, prefix + name)
    schema = infer_schema(recipe, raw, is_whole=True, place=name).schema
    rows = iterate_rows(raw.decode("utf-8-sig"), schema.delimiter, place=name)
    header = read_header(next(rows)[1], place=name)
    found = next(islice(rows, number, None), None)
    if found is None:
        raise UserError(f"{name} has no row {number}")
    cells = dict(zip(header, (cell.strip() for cell in found[1]), strict=False))
    values: dict[str, float | str | None] = {}
    for column in schema.columns:
        cell = cells[column.name]
        if cell in schema.missing:
            values[column.name] = None
        else:
            values[column.name] = read_number(cell) if column.kind == "number" else cell
    return Row(number=number, cells=values, label=cells[schema.target], file=name)


def pushed_recipe(artifacts: ObjectStore, project: str) -> Recipe:
    """The recipe of the project's last push."""
    try:
        head = json.loads(artifacts.get(layout.project_head_key(project)))
        key = layout.project_prefix(project, str(head["code_sha"])) + RECIPE_FILE
        return parse_recipe(artifacts.get(key).decode(), place=key)
    except KeyError as fault:
        raise UnknownProjectError(
            f"no project {project!r} was pushed", hint="push its folder first: lehr push FOLDER"
        ) from fault


def _read(data: ObjectStore, key: str) -> bytes:
    try:
        body = data.get(key)
    except KeyError as fault:
        raise MissingDataError(
            "is not in the bucket", place=key, hint="drop the data first, or give a request with --input"
        ) from fault
    return gzip.decompress(body) if is_gzipped(body) else body

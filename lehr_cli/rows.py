"""A row of a project's own test data, ready to be sent: the quickest way to ask a model something real."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass

from lehr import layout
from lehr.contracts.recipe import RECIPE_FILE, Recipe, parse_recipe
from lehr.errors import MissingDataError, UnknownProjectError, UserError
from lehr.idx import is_gzipped, parse_header
from lehr.ports import ObjectStore
from lehr_cli.stack import Stack

_HEADER_BYTES = 64


@dataclass(frozen=True, kw_only=True)
class Row:
    """An image as grey levels, and the label that the data gives it."""

    number: int
    pixels: list[list[int]]
    label: str


def test_row(stack: Stack, project: str, number: int) -> Row:
    """Row `number` of the test split as it was dropped. Raises UserError when there is no such row."""
    recipe = pushed_recipe(stack.artifacts, project)
    prefix = layout.incoming_prefix(project)
    images = _read(stack.data, prefix + recipe.data.test.images)
    labels = _read(stack.data, prefix + recipe.data.test.labels)
    image_header = parse_header(images[:_HEADER_BYTES], place=recipe.data.test.images)
    label_header = parse_header(labels[:_HEADER_BYTES], place=recipe.data.test.labels)
    if len(image_header.shape) != 3:
        raise UserError("does not hold grey images", place=recipe.data.test.images)
    rows, height, width = image_header.shape
    if not 0 <= number < min(rows, label_header.shape[0]):
        raise UserError(f"the test data has rows 0 to {rows - 1}, not {number}")
    start = image_header.offset + number * height * width
    pixels = [list(images[at : at + width]) for at in range(start, start + height * width, width)]
    return Row(number=number, pixels=pixels, label=recipe.data.labels[labels[label_header.offset + number]])


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

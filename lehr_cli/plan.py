"""`lehr plan`: which backend suits a project, from the sizes of model and data. The recipe decides all the same."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import typer

from lehr.contracts.data_rules import DEFAULT_CHANNELS, DEFAULT_TEST_FRACTION, FILES
from lehr.contracts.dataset import ObjectRef
from lehr.contracts.recipe import Recipe
from lehr.errors import UserError
from lehr.idx import HEADER_BYTES, is_gzipped, parse_header
from lehr.model_size import ModelSize
from lehr.parquet_footer import ParquetFile, read_footer
from lehr.planner import Plan, Way, chosen, largest_size, plan, spoken, work_of
from lehr.prices import load_prices
from lehr.sweeps import planned_trainings, trials_at_once
from lehr.table_schema import SAMPLE_BYTES, infer_schema, infer_typed_schema
from lehr_cli.invocation import Invocation, command
from lehr_cli.project import FolderArgument, read_recipe

_SHAPE = re.compile(r"[1-9]\d*(x[1-9]\d*)*")

DataOption = Annotated[
    Path | None, typer.Option(help="Folder of the data, if it is not FOLDER/data.", file_okay=False)
]
RowsOption = Annotated[int | None, typer.Option(help="Training rows, where no data is here yet.", min=1)]
ShapeOption = Annotated[
    str | None, typer.Option(help="Shape of a row, as in 28x28 or 32x32x3; of a table its columns, as in 13.")
]
ParametersOption = Annotated[int | None, typer.Option(help="Parameters of a model of your own.", min=1)]
OperationsOption = Annotated[
    int | None,
    typer.Option(help="Multiply-adds of a row through it (default: one for each parameter).", min=1),
]


@command
def plan_backend(
    invocation: Invocation,
    folder: FolderArgument,
    data: DataOption = None,
    rows: RowsOption = None,
    shape: ShapeOption = None,
    parameters: ParametersOption = None,
    operations: OperationsOption = None,
) -> None:
    """Recommend a backend for a project, and say why, without any cloud and without changing anything.

    Example: lehr plan examples/mnist
    """
    recipe = read_recipe(folder)
    count, row = rows_and_shape(recipe, data or folder / "data", rows, shape)
    size = model_size(recipe, row, parameters, operations)
    found = plan(work_of(recipe, size, rows=count, input_shape=row), recipe.backend, load_prices())
    _show(invocation, recipe, found, size, count)


def rows_and_shape(
    recipe: Recipe, folder: Path, rows: int | None, shape: str | None
) -> tuple[int, tuple[int, ...]]:
    """Training rows and the shape of one: as given, else from the header of the recipe's IDX file, or from a table's
    rows, whose shape is the number of its columns.

    Raises UserError where neither says it.
    """
    if shape is not None and not _SHAPE.fullmatch(shape):
        raise UserError(f"--shape is {shape!r}", hint="write sides with x between them: 28x28 or 32x32x3")
    sides = tuple(int(side) for side in shape.split("x")) if shape else ()
    if rows and sides:
        return rows, sides
    if recipe.data.format == "coco":
        counted, row = _annotated_size(recipe, folder)
        return rows or counted, sides or row
    if recipe.data.format in FILES:
        counted, row = _files_size(recipe, folder)
        return rows or counted or _unknown(recipe, folder), sides or row
    if recipe.data.train is None:
        counted, columns = _table_size(recipe, folder)
        return rows or counted, sides or (columns,)
    path = folder / recipe.data.train.images
    try:
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
        if is_gzipped(start):
            with gzip.open(path) as file:
                start = file.read(HEADER_BYTES)
    except OSError as fault:
        raise UserError(
            f"cannot be read: {fault.strerror or fault}",
            place=str(path),
            hint="name the folder of the data with --data, or say its size with --rows and --shape",
        ) from fault
    header = parse_header(start, place=str(path))
    return rows or header.shape[0], sides or tuple(header.shape[1:])


def _annotated_size(recipe: Recipe, folder: Path) -> tuple[int, tuple[int, ...]]:
    """How many images are learnt from, and the shape that they are brought to. Raises UserError for no annotations."""
    data = recipe.data
    path = folder / (data.annotations or "")
    try:
        count = len(json.loads(path.read_bytes())["images"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise UserError(
            "cannot be read as COCO's JSON",
            place=str(path),
            hint="name the folder of the data with --data, or say its size with --rows and --shape",
        ) from fault
    tested = DEFAULT_TEST_FRACTION if data.test_fraction is None else data.test_fraction
    shape = data.image_size or (1, 1)
    learnt = max(1, round(count * (1 - (0.0 if data.test_annotations else tested))))
    return learnt, shape if data.channels == 1 else (*shape, 3)


def _table_size(recipe: Recipe, folder: Path) -> tuple[int, int]:
    """Rows to learn from and columns of the table in `folder`. Raises UserError where there is none."""
    data = recipe.data
    names = sorted(path.name for path in folder.glob("*") if path.is_file())
    paths = [folder / name for name in names if any(fnmatchcase(name, pattern) for pattern in data.files)]
    if not paths:
        raise UserError(
            f"there is no {' or '.join(data.files)}",
            place=str(folder),
            hint="name the folder of the data with --data, or say its size with --rows and --shape (of 13 columns: 13)",
        )
    tested = 0.0 if data.test_files else _or(data.test_fraction, DEFAULT_TEST_FRACTION)
    if data.format == "parquet":
        described = [_described(path) for path in paths]
        kinds = {column.name: column.kind for column in described[0].columns.values()}
        inferred = infer_typed_schema(
            recipe, kinds, rows=described[0].rows, size=paths[0].stat().st_size, place=str(paths[0])
        )
        rows = sum(one.rows for one in described)
        return max(1, round(rows * (1 - tested))), len(inferred.schema.columns)
    with paths[0].open("rb") as file:
        start = file.read(SAMPLE_BYTES)
    is_whole = len(start) == paths[0].stat().st_size
    columns = len(infer_schema(recipe, start, is_whole=is_whole, place=str(paths[0])).schema.columns)
    headers = 1 if data.format == "csv" else 0
    rows = sum(max(0, _lines(path) - headers) for path in paths)
    return max(1, round(rows * (1 - tested))), columns


class _File:
    """A file as a bucket with one object."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_range(
        self, key: str, first: int, count: int, *, etag: str | None = None, version: str = ""
    ) -> bytes:
        with self._path.open("rb") as file:
            file.seek(first)
            return file.read(count)

    def uri(self, key: str) -> str:
        return key


def _described(path: Path) -> ParquetFile:
    ref = ObjectRef(bucket="", key=str(path), etag="", bytes=path.stat().st_size)
    return read_footer(ref, _File(path))


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _files_size(recipe: Recipe, folder: Path) -> tuple[int, tuple[int, ...]]:
    """How many files in `folder` are learnt from, about, and the shape that they are brought to."""
    data = recipe.data
    if data.manifest is not None:
        counted = _lines(folder / data.manifest) if (folder / data.manifest).is_file() else 0
    else:
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        counted = sum(any(fnmatchcase(name, pattern) for pattern in data.files) for name in names)
    tested = 0.0 if data.test_files else _or(data.test_fraction, DEFAULT_TEST_FRACTION)
    learnt = round(counted * (1 - tested))
    if data.sample_rate and data.seconds:
        return learnt, (round(data.sample_rate * data.seconds),)
    channels = DEFAULT_CHANNELS if data.channels is None else data.channels
    shape = data.image_size or (1, 1)
    return learnt, shape if channels == 1 else (*shape, channels)


def _unknown(recipe: Recipe, folder: Path) -> int:
    raise UserError(
        f"there is no {recipe.data.manifest or ' or '.join(recipe.data.files)}",
        place=str(folder),
        hint="name the folder of the data with --data, or say how many files there are with --rows",
    )


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        is_zipped = is_gzipped(file.read(HEADER_BYTES))
    with gzip.open(path) if is_zipped else path.open("rb") as lines:
        return sum(1 for _ in lines)


def model_size(
    recipe: Recipe, shape: tuple[int, ...], parameters: int | None, operations: int | None
) -> ModelSize:
    """Of a built-in model in closed form; of another as told. Raises UserError where nobody says it."""
    if parameters:
        return ModelSize(parameters, operations or parameters)
    size = largest_size(recipe, input_shape=shape)
    if size is None:
        raise UserError(
            f"the size of a {recipe.model.name} model is not known",
            hint="say it with --parameters; the log and training.json of any run have the number",
        )
    return size


def _show(invocation: Invocation, recipe: Recipe, found: Plan, size: ModelSize, rows: int) -> None:
    out, best, trainings = invocation.out, found.best, planned_trainings(recipe)
    out.say(f'{recipe.project.name}: backend.kind = "{best.backend}" on {best.machine}', "bold")
    out.say(f"    {found.reason}")
    out.say(
        f"    {rows:,} rows, {size.parameters:,} parameters, {size.multiply_adds:,} multiply-adds a row",
        "dim",
    )
    if trainings > 1:
        out.say(f"    one of {trainings} trainings, the longest; {trials_at_once(recipe)} at once", "dim")
    for way in found.ways:
        out.say(f"    {_line(way)}", "" if way == best else "dim")
    own = chosen(recipe.backend)
    out.say(f"    the recipe says: {', then '.join(own)}", "dim")
    out.note(f"estimates within a factor of three, on demand, {load_prices().origin()}; the recipe decides")
    out.emit(
        {
            "event": "plan",
            "project": recipe.project.name,
            "backend": best.backend,
            "machine": best.machine,
            "reason": found.reason,
            "rows": rows,
            "parameters": size.parameters,
            "multiply_adds": size.multiply_adds,
            "trainings": trainings,
            "ways": [dataclasses.asdict(way) for way in found.ways],
            "recipe": own,
        }
    )


def _line(way: Way) -> str:
    told = f"{way.backend:<10} {way.machine:<15}"
    if way.obstacle:
        return f"{told} {way.obstacle}"
    return (
        f"{told} {spoken(way.start_s):>7} to start, {spoken(way.training_s):>7} to train, {way.usd:.4f} USD"
    )

"""Tables of numbers and categories: the one implementation of decoding that preparation, evaluation and serving share.

Numbers are float32, NaN where a cell says nothing; categories are text, empty where it says nothing. What they mean,
means and codes, is the graph's own matter.

As tensors of a shard, categories are dictionary-encoded: `categories` int32 [rows, columns] are places in the lists of
`values`, the UTF-8 of a JSON list of lists.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import UNSET

from lehr.contracts.tables import Column, TableSchema
from lehr.errors import MalformedDataError
from lehr.number_cells import FLOAT32_MAX, read_number

if TYPE_CHECKING:
    from lehr_runtime.pseudonyms import Pseudonyms

MAX_CATEGORY_CHARACTERS = 256
# Below this many rows an array for each column costs more than it saves.
_FEW = 8
# Types of JSON values; a boolean is of neither.
_NUMBERS = {int, float, type(None)}
_TEXTS = {str, int, type(None)}


class Table:
    """`numbers` float32 [rows, n] and `categories`, an object array of str [rows, m], of the same rows."""

    def __init__(self, numbers: np.ndarray, categories: np.ndarray) -> None:
        if numbers.ndim != 2 or categories.ndim != 2 or len(numbers) != len(categories):
            raise ValueError(f"numbers {numbers.shape} and categories {categories.shape} are no table")
        self.numbers, self.categories = numbers, categories

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: Any) -> Table:
        return Table(self.numbers[rows], self.categories[rows])

    @property
    def ndim(self) -> int:
        return 2

    @property
    def nbytes(self) -> int:
        """About as many bytes as its tensors take."""
        return int(self.numbers.nbytes + 4 * self.categories.size)


# What a model is asked with: a table where it takes categories, one array where it does not.
Inputs = np.ndarray | Table


def as_inputs(table: Table) -> Inputs:
    """The table, or its numbers alone if it has no categories."""
    return table if table.categories.shape[1] else table.numbers


def to_tensors(inputs: Inputs) -> dict[str, np.ndarray]:
    """As tensors of a shard: `x`, and what stands for the categories."""
    if isinstance(inputs, np.ndarray):
        return {"x": inputs}
    width = inputs.categories.shape[1]
    codes = np.empty((len(inputs), width), dtype=np.int32)
    values = []
    for column in range(width):
        cells = inputs.categories[:, column].tolist()
        known = sorted(set(cells))
        places = {value: place for place, value in enumerate(known)}
        codes[:, column] = np.fromiter(map(places.__getitem__, cells), dtype=np.int32, count=len(cells))
        values.append(known)
    text = np.frombuffer(msgspec.json.encode(values), dtype=np.uint8)
    return {"x": inputs.numbers, "categories": codes, "values": text}


def from_tensors(tensors: Mapping[str, np.ndarray], *, place: str) -> Inputs:
    """The inverse. Raises MalformedDataError naming `place` for tensors that are no table."""
    numbers = tensors.get("x")
    if numbers is None:
        raise MalformedDataError("has no tensor x", place=place)
    codes = tensors.get("categories")
    if codes is None:
        return numbers
    values = shard_values(tensors, place=place)
    categories = np.empty(codes.shape, dtype=object)
    for column, known in enumerate(values):
        categories[:, column] = np.array([*known, None], dtype=object)[codes[:, column]]
    try:
        return Table(numbers, categories)
    except ValueError as fault:
        raise MalformedDataError(str(fault), place=place) from fault


def shard_values(tensors: Mapping[str, np.ndarray], *, place: str) -> list[list[str]]:
    """The values that a shard's codes stand for, of each column. Raises MalformedDataError."""
    codes, text = tensors["categories"], tensors.get("values")
    try:
        values = msgspec.json.decode(b"" if text is None else text.tobytes(), type=list[list[str]])
    except msgspec.MsgspecError as fault:
        raise MalformedDataError(f"has no values of its categories: {fault}", place=place) from fault
    if codes.ndim != 2 or codes.shape[1] != len(values):
        raise MalformedDataError(
            f"has categories of {codes.shape} and {len(values)} lists of values", place=place
        )
    for column, known in enumerate(values):
        used = codes[:, column]
        if len(used) and not (int(used.min()) >= 0 and int(used.max()) < len(known)):
            raise MalformedDataError(f"has a code beyond the values of category {column}", place=place)
    return values


class CellError(ValueError):
    """Raised for a cell that does not fit its column; `told` does not repeat the cell."""

    def __init__(self, column: str, problem: str, cell: str = "") -> None:
        self.told = f"{column}: {problem}"
        super().__init__(f"{column}: {cell[:40]!r} is {problem}" if cell else self.told)


class RowReader:
    """Cells to values, by the columns of a schema. What says nothing is one of `missing`, after stripping blanks.

    Values of a hashed column leave here as pseudonyms, so nothing behind it knows them. Raises MissingKeyError where
    there is such a column and no `pii_key`.
    """

    def __init__(self, columns: Sequence[Column], missing: Sequence[str], pii_key: str = "") -> None:
        self._columns, self._missing = tuple(columns), frozenset(missing)
        self._pseudonyms = _pseudonyms(columns, pii_key)

    def read(self, cells: Sequence[str]) -> tuple[list[float], list[str]]:
        """Numbers and categories of one row, in the columns' order. Raises CellError."""
        numbers: list[float] = []
        categories: list[str] = []
        for column, cell in zip(self._columns, cells, strict=True):
            text = cell.strip()
            if column.kind == "number":
                numbers.append(np.nan if text in self._missing else self._number(column.name, text))
            else:
                categories.append(self.category(column.name, text))
        return numbers, categories

    def category(self, name: str, text: str) -> str:
        """The text of a category, empty for one that says nothing. Raises CellError."""
        text = text.strip()
        if text in self._missing:
            return ""
        if len(text) > MAX_CATEGORY_CHARACTERS:
            raise CellError(name, f"more than {MAX_CATEGORY_CHARACTERS} characters")
        if "\0" in text:  # ends a text for ONNX Runtime
            raise CellError(name, "text with a NUL byte")
        return self._pseudonyms[name].of(text) if name in self._pseudonyms else text

    def _number(self, name: str, text: str) -> float:
        try:
            return read_number(text)
        except ValueError as fault:
            raise CellError(name, "no number within float32", text) from fault

    def builder(self) -> TableBuilder:
        """What the rows are gathered in."""
        width = sum(column.kind == "number" for column in self._columns)
        return TableBuilder(width, len(self._columns) - width)


def _pseudonyms(columns: Sequence[Column], pii_key: str) -> dict[str, Pseudonyms]:
    """Of each hashed column; what they need is imported with the first, since most cold starts have none."""
    hashed = {column.name: column.hashed_for for column in columns if column.hashed_for is not UNSET}
    if not hashed:
        return {}
    from lehr_runtime.pseudonyms import Pseudonyms

    return {name: Pseudonyms(pii_key, project) for name, project in hashed.items()}


class TableBuilder:
    """Rows as they come, at four bytes a number and eight a category: equal texts are kept once."""

    def __init__(self, numbers: int, categories: int) -> None:
        self._widths = numbers, categories
        self._numbers, self._texts = array("f"), list[str]()
        self._known: dict[str, str] = {}
        self._rows = 0

    def add(self, numbers: Sequence[float], categories: Sequence[str]) -> None:
        """One row, as `RowReader.read` gives it."""
        self._numbers.extend(numbers)
        self._texts.extend([self._known.setdefault(text, text) for text in categories])
        self._rows += 1

    @property
    def distinct(self) -> int:
        """How many different texts the categories have together."""
        return len(self._known)

    def table(self) -> Table:
        """The rows together."""
        numbers, categories = self._widths
        texts = np.empty(len(self._texts), dtype=object)
        texts[:] = self._texts
        flat = np.array(self._numbers, dtype=np.float32)
        return Table(flat.reshape(self._rows, numbers), texts.reshape(self._rows, categories))


def schema_reader(schema: TableSchema, pii_key: str = "") -> RowReader:
    """The reader of a schema's inputs."""
    return RowReader(schema.columns, schema.missing, pii_key)


def read_values(
    columns: Sequence[Column], missing: Sequence[str], rows: Sequence[Sequence[Any]], pii_key: str = ""
) -> Table:
    """Rows of JSON values in the columns' order: numbers, strings, or None for what is missing.

    An integer may stand for a category, whose text is its own. Raises MalformedDataError whose place is `[row].column`.
    """
    reader = RowReader(columns, missing, pii_key)
    fitting = _read_columns(reader, columns, rows) if len(rows) >= _FEW else None
    if fitting is not None:
        return fitting
    builder = reader.builder()
    for number, row in enumerate(rows):
        numbers: list[float] = []
        categories: list[str] = []
        for column, value in zip(columns, row, strict=True):
            place = f"[{number}].{column.name}"
            if column.kind == "number":
                numbers.append(_number_of_json(value, place))
            else:
                categories.append(_category_of_json(reader, column.name, value, place))
        builder.add(numbers, categories)
    return builder.table()


def _read_columns(
    reader: RowReader, columns: Sequence[Column], rows: Sequence[Sequence[Any]]
) -> Table | None:
    """What fits, column by column; None: the walk row by row says what does not, and where."""
    numbers, categories = [], []
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        kinds = set(map(type, values))
        if column.kind == "number":
            if not kinds <= _NUMBERS:
                return None
            try:
                wide = np.array(values, dtype=np.float64)  # None becomes NaN
            except OverflowError:  # of an integer beyond float64
                return None
            given = wide[~np.isnan(wide)]
            if given.size and not np.abs(given).max() <= FLOAT32_MAX:
                return None
            if len(given) + values.count(None) != len(values):
                return None
            numbers.append(wide.astype(np.float32))
        else:
            if not kinds <= _TEXTS:
                return None
            known = {value: "" if value is None else str(value) for value in set(values)}
            try:
                texts = {value: reader.category(column.name, text) for value, text in known.items()}
            except CellError:
                return None
            categories.append([texts[value] for value in values])
    cells = np.empty((len(rows), len(categories)), dtype=object)
    for place, column_of_texts in enumerate(categories):
        cells[:, place] = column_of_texts
    flat = np.stack(numbers, axis=1) if numbers else np.empty((len(rows), 0), np.float32)
    return Table(flat, cells)


def _number_of_json(value: Any, place: str) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FLOAT32_MAX:
        raise MalformedDataError("not a number within float32, nor null", place=place)
    return float(value)


def _category_of_json(reader: RowReader, name: str, value: Any, place: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise MalformedDataError("not a string, nor null", place=place)
    try:
        return reader.category(name, str(value))
    except CellError as fault:
        raise MalformedDataError(f"not a category: {fault.told}", place=place) from fault

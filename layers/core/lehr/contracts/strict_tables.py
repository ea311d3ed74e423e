"""Reading tables of TOML into structs, with an error for every key that nobody reads and a near name beside it."""

from __future__ import annotations

import difflib
from functools import cache
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from lehr.errors import RecipeError


def convert(table: dict[str, Any], kind: type[Any], place: str) -> Any:
    """The table as a `kind`. Raises RecipeError that names the key and what was expected."""
    try:
        return msgspec.convert(table, type=kind)
    except msgspec.ValidationError as fault:
        message, _, path = str(fault).partition(" - at ")
        where = path.strip("`").removeprefix("$").removeprefix(".")
        raise RecipeError(message, place=f"{place}: {where}" if where else place) from fault


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """A sweep converts hundreds of points, and resolving names is most of that."""
    return get_type_hints(kind, include_extras=True)


def refuse_unknown_keys(kind: Any, table: Any, place: str, path: str) -> None:
    """Walk the tables beside their types; msgspec would refuse too, but without a suggestion."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is UnionType:  # a table that may be left out
        kind = next((one for one in get_args(kind) if _is_struct(one)), kind)
    if not isinstance(table, dict) or not _is_struct(kind):
        return
    known = _hints(kind)
    for key, value in table.items():
        where = f"{path}.{key}" if path else key
        if key not in known or key == "schema":
            choices = [name for name in known if name != "schema"]
            near = difflib.get_close_matches(key, choices, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(choices)}"
            raise RecipeError(f"unknown key {where!r}", place=place, hint=hint)
        refuse_unknown_keys(known[key], value, place, where)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)

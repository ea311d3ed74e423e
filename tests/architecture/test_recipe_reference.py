"""docs/recipe.md names every key of the recipe, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_type_hints

import msgspec

from lehr.contracts.recipe import Recipe


def test_the_reference_lists_every_key_of_every_table(root: Path) -> None:
    text = (root / "docs/recipe.md").read_text()
    documented: dict[str, set[str]] = {}
    table = ""
    for line in text.splitlines():
        if heading := re.match(r"\| \*\*\[(\w+)\]\*\*", line):
            table = heading[1]
            documented[table] = set()
        elif table and line.startswith("| `"):
            documented[table] |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
    kinds = get_type_hints(Recipe)
    known = {
        name: set(kind.__struct_fields__)
        for name, kind in kinds.items()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }
    assert documented == known

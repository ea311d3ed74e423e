"""The project as it was pushed last: which code, and its recipe."""

from __future__ import annotations

import json

from lehr import layout
from lehr.contracts.recipe import RECIPE_FILE, Recipe, parse_recipe
from lehr.errors import RecipeError, UnknownProjectError
from lehr.ports import ObjectStore


def read_pushed(artifacts: ObjectStore, project: str) -> tuple[str, Recipe]:
    """The code's sha and the recipe. Raises UnknownProjectError, or RecipeError as parse_recipe does."""
    try:
        head = json.loads(artifacts.get(layout.project_head_key(project)))
    except KeyError as fault:
        raise UnknownProjectError(
            f"no project {project!r} has been pushed", hint="push its folder first: lehr push <folder>"
        ) from fault
    code_sha = str(head["code_sha"])
    place = f"{layout.project_prefix(project, code_sha)}{RECIPE_FILE}"
    try:
        text = artifacts.get(place)
    except KeyError as fault:
        raise RecipeError("is missing", place=place, hint="push the folder again") from fault
    recipe = parse_recipe(text.decode("utf-8", "replace"), place=place)
    if recipe.project.name != project:
        raise RecipeError(f"is the recipe of {recipe.project.name!r}, not of {project!r}", place=place)
    return code_sha, recipe

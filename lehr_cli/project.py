"""`lehr push`: a project's recipe and code, uploaded under the digest of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from lehr import layout
from lehr.contracts.hook_rules import named_functions
from lehr.contracts.recipe import RECIPE_FILE, Recipe, parse_recipe
from lehr.errors import UserError
from lehr.ports import ObjectStore
from lehr_cli.invocation import Invocation, command

MAX_FILE_BYTES = 10 * 1024 * 1024
_LEFT_OUT = {"data", "__pycache__"}

FolderArgument = Annotated[
    Path, typer.Argument(help="Folder with lehr.toml.", file_okay=False, metavar="FOLDER")
]


@command
def push(invocation: Invocation, folder: FolderArgument) -> None:
    """Upload a project: its lehr.toml and its code, without its data.

    Example: lehr push examples/mnist
    """
    recipe = read_recipe(folder)
    files = read_files(folder)
    refuse_missing_code(recipe, files, place=str(folder / RECIPE_FILE))
    code_sha = upload(invocation.stack.artifacts, recipe.project.name, files)
    name = recipe.project.name
    invocation.out.say(f"pushed {name}: {len(files)} file(s), code {code_sha}")
    invocation.out.emit({"event": "pushed", "project": name, "code_sha": code_sha, "files": sorted(files)})
    invocation.out.note(f"next: lehr drop {name} {folder / 'data'}")


def read_recipe(folder: Path) -> Recipe:
    """The recipe of a project's folder. Raises UserError when there is none, RecipeError when it is wrong."""
    path = folder / RECIPE_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as fault:
        raise UserError(
            f"there is no {RECIPE_FILE}", place=str(folder), hint="examples/mnist shows one"
        ) from fault
    except UnicodeDecodeError as fault:
        raise UserError("is not UTF-8 text", place=str(path)) from fault
    recipe = parse_recipe(text, place=str(path))
    recipe.trial_settings()
    return recipe


def read_files(folder: Path) -> dict[str, bytes]:
    """Path (with slashes, relative) to content of everything that is pushed. Raises UserError for a large file."""
    files = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if relative.parts[0] in _LEFT_OUT or any(
            part.startswith(".") or part == "__pycache__" for part in relative.parts
        ):
            continue
        if not path.is_file():
            continue
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UserError(
                f"is {size / 1e6:.1f} MB; a project's files are code, 10 MB at most",
                place=str(path),
                hint="put data into the project's data/ folder and drop it with `lehr drop`",
            )
        files[relative.as_posix()] = path.read_bytes()
    return files


def refuse_missing_code(recipe: Recipe, files: Iterable[str], *, place: str) -> None:
    """Raise UserError for a function of the recipe whose file is not among `files`, before a machine is paid for it."""
    present = set(files)
    for key, function in named_functions(recipe).items():
        path = function.partition(":")[0].replace(".", "/")
        if not present & {f"{path}.py", f"{path}/__init__.py"}:
            python = ", ".join(sorted(name for name in present if name.endswith(".py"))) or "no Python file"
            raise UserError(
                f"{key} is {function!r}, and there is no {path}.py",
                place=place,
                hint=f"the folder has {python}",
            )


def code_digest(files: dict[str, bytes]) -> str:
    """First 16 hex digits of the sha256 over the sorted (path, sha256 of content) pairs."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\0{hashlib.sha256(files[path]).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def upload(artifacts: ObjectStore, project: str, files: dict[str, bytes]) -> str:
    """Store the files and then point head.json at them: nobody ever sees half a push. Returns the code sha."""
    code_sha = code_digest(files)
    prefix = layout.project_prefix(project, code_sha)
    for path, content in files.items():
        artifacts.put(prefix + path, content)
    head = json.dumps({"code_sha": code_sha}).encode()
    artifacts.put(layout.project_head_key(project), head, content_type="application/json")
    return code_sha

"""Which model version a run starts from: the champion of this moment, if the recipe says so and there is one.

The version becomes part of what identifies the run. By itself that would let the same data be trained on again as soon
as the model made of it is champion; so a champion that was made of the same data, recipe and code needs no run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lehr import layout
from lehr.contracts.package import LINEAGE_FILE, PACKAGE_FILE, WEIGHTS_FILE, Lineage, ModelPackage
from lehr.contracts.recipe import Recipe
from lehr.contracts.registry import RunRecord
from lehr.errors import UserError
from lehr.ports import ModelRegistry, ObjectStore


@dataclass(frozen=True, kw_only=True)
class Initial:
    """A model version, the URI of its weights, and the champion before it; all empty: random weights."""

    version: str = ""
    uri: str = ""
    previous: str = ""


def find_initial(recipe: Recipe, registry: ModelRegistry, artifacts: ObjectStore) -> Initial:
    """The champion, if a trial starts from it. Raises UserError for one without its weights in the package."""
    may_start = "start_from" in recipe.trials.space
    if not may_start and not any(training.start_from for training in recipe.trial_settings()):
        return Initial()
    project = recipe.project.name
    alias = registry.alias(project)
    if alias is None:
        return Initial()
    version = alias.champion
    package = ModelPackage.from_json(_document(project, version, PACKAGE_FILE, artifacts))
    if WEIGHTS_FILE not in package.files:
        raise UserError(
            f"champion {version} has no {WEIGHTS_FILE}: an older trainer made it, or they are too large",
            place="training.start_from",
            hint="train once without start_from; this trainer packages weights of 256 MB at most",
        )
    uri = artifacts.uri(layout.model_file_key(project, version, WEIGHTS_FILE))
    return Initial(version=version, uri=uri, previous=alias.previous or "")


def made_of_the_same(
    initial: Initial,
    project: str,
    registry: ModelRegistry,
    artifacts: ObjectStore,
    identity: Callable[[str], str],
) -> RunRecord | None:
    """The run that made the champion, if all but its own start was the same.

    `identity` gives the fingerprint of the data, recipe and code at hand with the version to start from. That is the
    champion before, where the best trial of a sweep started from random weights and so names none.
    """
    if not initial.version:
        return None
    lineage = Lineage.from_json(_document(project, initial.version, LINEAGE_FILE, artifacts))
    record = registry.run(project, lineage.run)
    if record is None:
        return None
    starts = (lineage.initial_version, initial.previous)
    return record if record.fingerprint in map(identity, starts) else None


def _document(project: str, version: str, name: str, artifacts: ObjectStore) -> bytes:
    try:
        return artifacts.get(layout.model_file_key(project, version, name))
    except KeyError as fault:
        raise UserError(
            f"champion {version} has no {name}: its package is not whole",
            place="training.start_from",
            hint="train once without start_from",
        ) from fault

"""Which model serves: the champion of each project, read again every half minute and swapped whole.

A new champion is loaded, checked and asked once beside the old one, then replaces it by one assignment: no
request sees half a model. What goes wrong on the way leaves the old one serving.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from aws_lambda_powertools import Logger

from lehr import layout
from lehr.errors import NoChampionError, UnknownProjectError, UserError
from lehr.ports import ModelRegistry, ObjectStore
from lehr_runtime.packages import LoadedModel

REFRESH_S = 30.0
MAX_PROJECTS = 8

Load = Callable[[str, str], LoadedModel]


@dataclass(frozen=True)
class Champion:
    """A loaded model and the generation of the alias that named it."""

    model: LoadedModel
    generation: int


class Champions:
    """The champions of the last MAX_PROJECTS projects asked for; `load(project, version)` gives a model."""

    def __init__(
        self,
        store: ObjectStore,
        registry: ModelRegistry,
        load: Load,
        logger: Logger,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._registry, self._load, self._logger = store, registry, load, logger
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, Champion]] = OrderedDict()

    def get(self, project: str) -> Champion:
        """The model that answers for `project`, at most REFRESH_S behind the alias.

        Raises UnknownProjectError for a name that nobody has pushed, NoChampionError before the first
        promotion; any other fault only when there is no earlier model to answer with.
        """
        checked_at, current = self._entries.get(project, (0.0, None))
        if current and self._clock() - checked_at < REFRESH_S:
            self._entries.move_to_end(project)
            return current
        try:
            champion = self._read(project, current)
        except (NoChampionError, UnknownProjectError):
            self._entries.pop(project, None)
            raise
        except Exception:
            if current is None:
                raise
            self._logger.exception(
                "champion not refreshed, the earlier one serves",
                extra={"project": project, "model_version": current.model.version},
            )
            champion = current
        self._entries[project] = (self._clock(), champion)
        self._entries.move_to_end(project)
        if len(self._entries) > MAX_PROJECTS:
            self._entries.popitem(last=False)
        return champion

    def _read(self, project: str, current: Champion | None) -> Champion:
        try:
            layout.checked_name(project)
        except UserError as fault:
            raise UnknownProjectError("no project has such a name") from fault
        alias = self._registry.alias(project)
        if alias is None:
            if not self._store.exists(layout.project_head_key(project)):
                raise UnknownProjectError("no project of that name was pushed")
            raise NoChampionError(project)
        if current and current.model.version == alias.champion:
            return Champion(current.model, alias.generation)
        model = self._load(project, alias.champion)
        self._logger.info("champion loaded", extra={"project": project, "model_version": model.version})
        return Champion(model, alias.generation)

"""Which model serves: the champion of each project, read again in the background and swapped whole.

Once a project is warm no request waits for S3 or DynamoDB: it is answered with the model at hand, and the alias is
read again at most every half minute by a thread beside it. A new model is loaded, checked and asked once beside the
old one, then replaces it by one assignment. What goes wrong on the way leaves the old one serving.

Lambda freezes the whole process between two requests, with that thread in it, for seconds or for hours. So a reading
of the alias that has been under way for long is given up, and whatever comes of it later is dropped; a load goes on,
since a version is the same bytes whenever it arrives. And a request that finds such a refresh lends it a moment of
its own (GRACE_S, at most once in REFRESH_S): a function that is asked rarely would otherwise never be awake for long
enough to see a promotion.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from functions.predict.serving import Candidate, Champion, Entry, Refresh, Serving
from lehr import layout
from lehr.contracts.registry import Alias
from lehr.errors import ModelPackageError, NoChampionError, UnknownProjectError, UserError
from lehr.json_log import JsonLog
from lehr_runtime.packages import LoadedModel

if TYPE_CHECKING:
    from functions.predict.rollout import Scored
    from lehr.ports import ChampionPointers, ObjectReader

REFRESH_S = 30.0
# Longer than the reader's own time-outs allow: what takes longer to read the alias was frozen.
GIVE_UP_S = 30.0
LOAD_GIVE_UP_S = 600.0
GRACE_S = 0.25
# A package is addressed by its content: one that was refused is only tried again because a file may have been missing.
REFUSED_S = 300.0
MAX_PROJECTS = 8
MAX_REFRESHES = 4

Load = Callable[[str, str], LoadedModel]
Spawn = Callable[[Callable[[], None]], None]


def _start_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="refresh-champion", daemon=True).start()


class Champions:
    """The champions of the last MAX_PROJECTS projects asked for; `load(project, version)` gives a model.

    `on_fallback` is called, by the next request, for each time that a champion could not be loaded and the one
    before it serves; `on_scored`, with the project, for all that champion and candidate do while there are two.
    """

    def __init__(
        self,
        store: ObjectReader,
        registry: ChampionPointers,
        load: Load,
        logger: JsonLog,
        *,
        on_fallback: Callable[[], None] = lambda: None,
        on_scored: Callable[[str, Scored], None] = lambda project, scored: None,
        clock: Callable[[], float] = time.monotonic,
        spawn: Spawn = _start_thread,
    ) -> None:
        self._store, self._registry, self._load, self._logger = store, registry, load, logger
        self._on_fallback, self._on_scored, self._clock, self._spawn = on_fallback, on_scored, clock, spawn
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._refused: dict[tuple[str, str], float] = {}
        self._fallbacks = 0
        self._refreshes = 0
        self._lock = threading.Lock()  # for the four above; never held while anything is read or loaded
        self._first = threading.Lock()  # two first requests for a project load its model once

    def get(self, project: str, key: str | None = None) -> Champion:
        """The model that answers for `project`; a request with a `key` may be the canary's.

        The same key always goes the same way. Raises UnknownProjectError for a name that nobody has pushed,
        NoChampionError before the first promotion and where no promoted model can be loaded; any other fault
        only when there is no earlier model to answer with.
        """
        try:
            serving = self._warm(project)
            if serving is None:
                with self._first:
                    serving = self._warm(project) or self._read_first(project)
        finally:
            self._report_fallbacks()
        return serving.of(key)

    def refresh_all(self, *, within_s: float) -> bool:
        """Read the alias of every warm project now, as after a restore; whether all of it was done in that time.

        What is not goes on in the background.
        """
        begun = []
        with self._lock:
            now = self._clock()
            for project, entry in self._entries.items():
                refresh = Refresh(now, entry.serving.models())
                entry.checked_at, entry.refresh = now, refresh
                self._refreshes += 1
                begun.append((project, entry, refresh))
        for one in begun:
            self._begin(*one)
        deadline = time.monotonic() + within_s
        return all(refresh.done.wait(max(0, deadline - time.monotonic())) for *_, refresh in begun)

    def _warm(self, project: str) -> Serving | None:
        """What serves the project already; begins a refresh if one is due."""
        with self._lock:
            entry = self._entries.get(project)
            if entry is None:
                return None
            self._entries.move_to_end(project)
            begun, overdue = self._due(entry)
            if begun is None and overdue is None:
                return entry.serving
        if begun:
            self._begin(project, entry, begun)
        if overdue:
            overdue.done.wait(GRACE_S)
        with self._lock:
            current = self._entries.get(project)
            return current.serving if current else None

    def _due(self, entry: Entry) -> tuple[Refresh | None, Refresh | None]:
        """A refresh to begin now, and one to wait a moment for, because a freeze has come between."""
        now, running = self._clock(), entry.refresh
        if running:
            age_s = now - running.begun_at
            if age_s < GIVE_UP_S:
                return None, None
            if running.is_loading and age_s < LOAD_GIVE_UP_S:
                if running.lent_at is not None and now - running.lent_at < REFRESH_S:
                    return None, None
                running.lent_at = now
                return None, running
        elif now - entry.checked_at < REFRESH_S:
            return None, None
        if self._refreshes >= MAX_REFRESHES:
            return None, None
        self._refreshes += 1
        entry.checked_at = now
        entry.refresh = Refresh(now, entry.serving.models(), lent_at=now if running else None)
        return entry.refresh, entry.refresh if running else None

    def _begin(self, project: str, entry: Entry, refresh: Refresh) -> None:
        try:
            self._spawn(lambda: self._refresh_counted(project, entry, refresh))
        except RuntimeError:  # the process may start no more threads
            self._logger.exception("champion not refreshed", extra={"project": project})
            with self._lock:
                self._refreshes -= 1
                entry.refresh = None
            refresh.done.set()

    def _refresh_counted(self, project: str, entry: Entry, refresh: Refresh) -> None:
        try:
            self._refresh(project, entry, refresh)
        finally:
            with self._lock:
                self._refreshes -= 1

    def _refresh(self, project: str, entry: Entry, refresh: Refresh) -> None:
        """Read the alias and load what it names; has no effect if it was given up meanwhile."""
        before = entry.serving
        after: Serving | None = before
        try:
            after = self._resolve(project, before, refresh)
        except (NoChampionError, UnknownProjectError) as fault:
            self._logger.warning(
                "champion taken away", extra={"project": project, "reason": type(fault).__name__}
            )
            after = None
        except Exception:
            self._logger.exception(
                "champion not refreshed, the earlier one serves",
                extra={"project": project, "model_version": before.champion.model.version},
            )
        finally:
            with self._lock:
                if entry.refresh is refresh:
                    entry.refresh = None
                    if after is not None:
                        entry.serving = after
                    elif self._entries.get(project) is entry:
                        del self._entries[project]
            refresh.done.set()

    def _read_first(self, project: str) -> Serving:
        serving = self._resolve(project, None, Refresh(self._clock(), {}))
        with self._lock:
            self._entries[project] = Entry(serving, self._clock())
            self._entries.move_to_end(project)
            while len(self._entries) > MAX_PROJECTS:
                self._entries.popitem(last=False)
        return serving

    def _resolve(self, project: str, before: Serving | None, refresh: Refresh) -> Serving:
        alias = self._read_alias(project)
        champion = Champion(self._champion(project, alias, before, refresh), alias.generation)
        if not alias.canary or not 0 < alias.weight <= 1 or alias.canary == champion.model.version:
            return Serving(champion)
        return Serving(champion, self._candidate(project, alias, champion, refresh))

    def _candidate(
        self, project: str, alias: Alias, champion: Champion, refresh: Refresh
    ) -> Candidate | None:
        """The canary or the shadow of an alias; None if it cannot be loaded, which is a failure of its own."""
        from functions.predict.rollout import Scored, compared, shadowed, watched

        version, generation = alias.canary or "", alias.generation
        report = partial(self._on_scored, project)
        try:
            loaded = self._model(project, version, refresh)
        except Exception:
            self._logger.exception(
                "canary not loaded, the champion answers for it",
                extra={"project": project, "model_version": version},
            )
            report(Scored(version, has_failed=True))
            return None
        other = Champion(watched(champion.model, report), generation)
        if alias.is_shadow:
            chosen = Champion(shadowed(champion.model, loaded, report), generation)
        elif alias.is_compared is True:
            chosen = Champion(compared(loaded, champion.model, report), generation)
        else:
            chosen = Champion(watched(loaded, report, is_candidate=True), generation)
        until = datetime.fromisoformat(alias.bakes_until).timestamp() if alias.bakes_until else math.inf
        return Candidate(loaded, chosen, other, alias.weight, until)

    def _read_alias(self, project: str) -> Alias:
        try:
            layout.checked_name(project)
        except UserError as fault:
            raise UnknownProjectError("no project has such a name") from fault
        alias = self._registry.alias(project)
        if alias is None:
            if not self._store.exists(layout.project_head_key(project)):
                raise UnknownProjectError("no project of that name was pushed")
            raise NoChampionError(project)
        return alias

    def _champion(self, project: str, alias: Alias, before: Serving | None, refresh: Refresh) -> LoadedModel:
        """The alias's champion, or the one before it if the champion's package must not be loaded."""
        try:
            return self._model(project, alias.champion, refresh)
        except ModelPackageError:
            self._logger.exception(
                "champion must not be loaded", extra={"project": project, "model_version": alias.champion}
            )
        with self._lock:
            self._fallbacks += 1
        if alias.previous:
            try:
                return self._model(project, alias.previous, refresh)
            except ModelPackageError:
                self._logger.exception(
                    "the champion before it must not be loaded either",
                    extra={"project": project, "model_version": alias.previous},
                )
        if before:
            return before.champion.model
        raise NoChampionError(project)

    def _model(self, project: str, version: str, refresh: Refresh) -> LoadedModel:
        """A model that is loaded already, or a new one. Raises ModelPackageError also for one refused of late."""
        if version in refresh.warm:
            return refresh.warm[version]
        refused_at = self._refused.get((project, version))
        if refused_at is not None and self._clock() - refused_at < REFUSED_S:
            raise ModelPackageError(f"{version}: was refused before")
        refresh.is_loading = True
        try:
            model = self._load(project, version)
        except ModelPackageError:
            with self._lock:
                self._refused[project, version] = self._clock()
                while len(self._refused) > 4 * MAX_PROJECTS:
                    del self._refused[next(iter(self._refused))]
            raise
        self._refused.pop((project, version), None)
        self._logger.info(
            "champion loaded",
            extra={"project": project, "model_version": version, "graph": model.graph}
            | ({"reason": model.reason} if model.reason else {}),
        )
        return model

    def _report_fallbacks(self) -> None:
        """In the thread of a request, because what collects metrics is no thread's but its own."""
        with self._lock:
            count, self._fallbacks = self._fallbacks, 0
        for _ in range(count):
            self._on_fallback()

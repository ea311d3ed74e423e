"""A look at what the endpoint was asked: beside the data that each project's champion was trained on.

The log is read, not a copy of it; nothing is remembered between looks but the last report. Drift is told once for a
model version and cooldown, however often it is seen: an event that start_run may start a run for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from lehr import layout
from lehr.contracts.capture import PredictionCapture
from lehr.contracts.drift import DriftReport, DriftStatus, DriftThresholds
from lehr.contracts.evaluation import EvaluationReport
from lehr.contracts.feedback import FeedbackLine, LiveAccuracy
from lehr.contracts.package import LINEAGE_FILE, REFERENCE_FILE, Lineage
from lehr.contracts.recipe import Recipe
from lehr.contracts.recipe_tables import Watch
from lehr.contracts.reference import ModelReference
from lehr.contracts.registry import Alias
from lehr.drift import MIN_REQUESTS, Seen, add_up, compare, is_enough
from lehr.errors import ContractError
from lehr.live_accuracy import live_accuracy
from lehr.ports import CapturedLines, ChampionPointers, Events, ObjectStore, ReadLines
from lehr.pushed import read_pushed

DRIFT_FOUND = "DriftFound"
MAX_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look has come to: reports by project, which of them were told, and whose projects failed."""

    reports: dict[str, DriftReport]
    told: list[str]
    failed: list[str]


@dataclass(frozen=True, kw_only=True)
class WatchDrift:
    """The operation, with what it needs of the world."""

    artifacts: ObjectStore
    registry: ChampionPointers
    lines: CapturedLines
    events: Events
    logger: logging.Logger
    clock: Callable[[], str]

    def look(self, project: str = "") -> Look:
        """Compare every project that has a champion, or one. A project that fails does not hold up the others."""
        reports: dict[str, DriftReport] = {}
        told, failed = [], []
        for name in [project] if project else self.artifacts.folders(layout.PROJECTS):
            try:
                alias = self.registry.alias(name)
                if alias is None:
                    continue
                _, recipe = read_pushed(self.artifacts, name)
                report = self._look_at(recipe, alias)
                report = msgspec.structs.replace(report, live=self._live(report, recipe.watch))
                if self._tell(report, recipe.retrain.cooldown_h):
                    told.append(name)
                    report = msgspec.structs.replace(report, event_at=report.at)
                self._keep(report)
                reports[name] = report
            except Exception:
                self.logger.exception("a project could not be looked at", extra={"project": name})
                failed.append(name)
        return Look(reports=reports, told=told, failed=failed)

    def _look_at(self, recipe: Recipe, alias: Alias) -> DriftReport:
        """The report, as the last one knows of an event."""
        at = self.clock()
        until = datetime.fromisoformat(at)
        since = until - timedelta(hours=recipe.watch.window_h)
        reference = self._reference(alias)
        if reference is None:
            why = "the champion's package has no reference.json: train again to have one"
            return self._report(recipe, alias, at, since, "not_compared", why, Seen())
        read = self.lines.read("prediction", alias.project, _epoch_ms(since), _epoch_ms(until))
        seen = add_up(_of_version(read, alias.champion), reference)
        if not is_enough(seen, recipe.watch):
            why = (
                f"{seen.rows} rows of {seen.requests} captured requests; a judgement takes "
                f"{recipe.watch.min_rows} of {MIN_REQUESTS}"
            )
            return self._report(recipe, alias, at, since, "not_enough", why, seen, is_sampled=read.is_sampled)
        columns, thresholds = compare(seen, reference, self._predicted(alias), recipe.watch)
        moved = [one for one in columns if one.has_drifted]
        status: DriftStatus
        if not columns:
            status, why = "not_enough", f"no column has {recipe.watch.min_rows} rows that were counted"
        elif moved:
            names = ", ".join(f"{one.name} ({one.distance:.0%})" for one in moved[:MAX_NAMED])
            status, why = "drifted", f"{len(moved)} of {len(columns)} comparisons: {names}"
        else:
            status = "stable"
            why = f"{len(columns)} comparisons, the furthest {columns[0].name} ({columns[0].distance:.0%})"
        report = self._report(recipe, alias, at, since, status, why, seen, is_sampled=read.is_sampled)
        return msgspec.structs.replace(report, columns=columns, thresholds=thresholds)

    def _live(self, report: DriftReport, watch: Watch) -> list[LiveAccuracy]:
        """Of the labels that came within the window, whenever the predictions were made."""
        since, until = (_epoch_ms(datetime.fromisoformat(text)) for text in (report.since, report.at))
        lines = []
        for raw in self.lines.read("feedback", report.project, since, until).lines:
            try:
                lines.append(FeedbackLine.from_json(raw))
            except ContractError:
                continue
        return live_accuracy(lines, watch)

    def _report(
        self,
        recipe: Recipe,
        alias: Alias,
        at: str,
        since: datetime,
        status: DriftStatus,
        why: str,
        seen: Seen,
        *,
        is_sampled: bool = False,
    ) -> DriftReport:
        watch = recipe.watch
        before = self._last(alias.project)
        is_same = before is not None and before.model_version == alias.champion
        return DriftReport(
            project=alias.project,
            model_version=alias.champion,
            at=at,
            since=since.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            status=status,
            reason=why,
            requests=seen.requests,
            rows=seen.rows,
            is_sampled=is_sampled,
            thresholds=DriftThresholds(
                min_rows=watch.min_rows,
                max_psi=watch.max_psi,
                max_distance=watch.max_distance,
                max_p_value=watch.false_alarm_rate,
            ),
            columns=[],
            event_at=before.event_at if before is not None and is_same else "",
        )

    def _tell(self, report: DriftReport, cooldown_h: int) -> bool:
        """Send the event of a drift that nobody was told of within the cooldown; whether it was sent."""
        if report.status != "drifted":
            return False
        if report.event_at:
            again = datetime.fromisoformat(report.event_at) + timedelta(hours=cooldown_h)
            if datetime.fromisoformat(report.at) < again:
                return False
        self.events.put(
            DRIFT_FOUND,
            {
                # Others' stacks use the same bus.
                "bucket": self.artifacts.bucket,
                "project": report.project,
                "model_version": report.model_version,
                "reason": report.reason,
                "report": self.artifacts.uri(layout.drift_found_key(report.project, report.at)),
                "thresholds": msgspec.to_builtins(report.thresholds),
                "columns": [msgspec.to_builtins(one) for one in report.columns if one.has_drifted][
                    :MAX_NAMED
                ],
            },
        )
        return True

    def _keep(self, report: DriftReport) -> None:
        keys = [layout.drift_report_key(report.project)]
        if report.event_at == report.at:
            keys.insert(0, layout.drift_found_key(report.project, report.at))
        for key in keys:
            self.artifacts.put(key, report.to_json(), content_type="application/json")

    def _last(self, project: str) -> DriftReport | None:
        try:
            return DriftReport.from_json(self.artifacts.get(layout.drift_report_key(project)))
        except (KeyError, ContractError):  # of an older Lehr, perhaps
            return None

    def _reference(self, alias: Alias) -> ModelReference | None:
        key = layout.model_file_key(alias.project, alias.champion, REFERENCE_FILE)
        try:
            return ModelReference.from_json(self.artifacts.get(key))
        except KeyError:
            return None

    def _predicted(self, alias: Alias) -> Mapping[str, int]:
        """How often the champion predicted each label of the test split; nothing of a task that has none."""
        lineage_key = layout.model_file_key(alias.project, alias.champion, LINEAGE_FILE)
        try:
            run = Lineage.from_json(self.artifacts.get(lineage_key)).run
            report = EvaluationReport.from_json(
                self.artifacts.get(layout.evaluation_report_key(alias.project, run))
            )
        except (KeyError, ContractError):  # of another task, which has no labels
            return {}
        if report.candidate_version != alias.champion:
            return {}
        confusion = report.candidate.confusion
        labels = [one.label for one in report.candidate.classes]
        return {label: sum(row[place] for row in confusion) for place, label in enumerate(labels)}


def _of_version(read: ReadLines, version: str) -> Iterator[PredictionCapture]:
    """Each request once: a line may be delivered twice. What an older endpoint wrote otherwise is passed over."""
    seen: set[str] = set()
    for raw in read.lines:
        try:
            line = PredictionCapture.from_json(raw)
        except ContractError:
            continue
        if line.model_version == version and line.request_id not in seen:
            seen.add(line.request_id)
            yield line


def _epoch_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)

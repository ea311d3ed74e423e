"""From a request to a running batch, once per content, and what is known of it afterwards.

A batch is named by its files (keys and ETags) and by the champion that answers, so that a request that is sent again
finds the first. Only one that failed, was stopped, or whose results have expired is begun again, with a number behind
its name.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

import msgspec
from msgspec import UNSET, UnsetType

from functions.start_batch.answers import BatchProgress, UploadAddress
from functions.start_batch.plan import batch_id, find_files, plan_units
from lehr import layout
from lehr.contracts.batch_prediction import (
    Batch,
    BatchInput,
    BatchRequest,
    BatchResult,
    BatchUnitResult,
    RefusedRows,
)
from lehr.contracts.workflow import S3Location
from lehr.errors import NoChampionError, UnknownProjectError, UserError
from lehr.ports import BatchExecutions, ModelRegistry, ObjectStore, PresignedUrls

MAX_ATTEMPTS = 9
MAX_REFUSED_SHOWN = 100
_READERS = 16
_JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class StartBatch:
    """The operations, with what they need of the world."""

    data: ObjectStore
    artifacts: ObjectStore
    registry: ModelRegistry
    executions: BatchExecutions
    uploads: PresignedUrls
    results: PresignedUrls
    new_upload: Callable[[], str] = lambda: f"upload-{uuid4().hex[:16]}"

    def offer_upload(self, project: str) -> UploadAddress:
        """An address that takes one file by PUT, and the id that starts a batch of it."""
        self._champion(project)
        upload = self.new_upload()
        return UploadAddress(self.uploads.to_put(layout.batch_upload_key(project, upload)), upload)

    def start(self, project: str, request: BatchRequest) -> Batch:
        """Plan and start a batch, or find the one that the same content has started.

        Raises UserError for an input that cannot be one, UnknownProjectError or NoChampionError without a model.
        """
        if request.input and request.batch:
            raise UserError("give either `input` or `batch`")
        model_version = self._champion(project)
        files = find_files(self.data, project, self._key(project, request))
        name, planned = self._attempt(project, batch_id(files, model_version))
        if planned is not None:
            return planned
        units = plan_units(self.data, files, project=project, batch=name, model_version=model_version)
        batch = Batch(
            project=project,
            batch=name,
            input=request.input or self.data.uri(layout.batch_upload_prefix(project, request.batch)),
            model_version=model_version,
            files=len(files),
            units=len(units),
            rows=sum(unit.count for unit in units),
        )
        plan_key = layout.batch_plan_key(project, name)
        self.artifacts.put(plan_key, msgspec.json.encode(units), content_type=_JSON)
        self.artifacts.put(layout.batch_key(project, name), batch.to_json(), content_type=_JSON)
        body = BatchInput(
            project=project, batch=name, plan=S3Location(bucket=self.artifacts.bucket, key=plan_key)
        )
        # Also when somebody else has done the same by now: the name makes it count once.
        self.executions.start(f"{project}-{name}", body.to_json())
        return batch

    def describe(self, project: str, name: str) -> BatchProgress | None:
        """How far a batch is, and where its result lies when it has one; None if none was started under this name."""
        batch = self._planned(project, name)
        if batch is None:
            return None
        result = self._result(project, name)
        if result is None and (end := self.executions.ended_as(f"{project}-{name}")) is not None:
            # It may have written its result between the two looks.
            result = self._result(project, name)
            if result is None:
                reason = f"the execution ended as {end.status} and left no result"
                return self._progress(batch, "failed", reason)
        if result is None:
            return self._progress(batch, "running")
        failure = result.failure
        return BatchProgress(
            project=project,
            batch=name,
            model_version=batch.model_version,
            status=result.status,
            units=result.units,
            units_done=result.units,
            rows=batch.rows,
            rows_done=result.rows,
            refused_units=result.refused_units,
            refused=result.refused,
            reason=f"{failure.state}: {failure.error}: {failure.cause}" if failure else UNSET,
            result_urls=UNSET if failure else [self.results.to_get(key) for key in result.files],
        )

    def _progress(
        self, batch: Batch, status: Literal["running", "failed"], reason: str | UnsetType = UNSET
    ) -> BatchProgress:
        """Counted from what the units have written: a batch that runs has no other state."""
        entries = self.artifacts.list(layout.batch_units_prefix(batch.project, batch.batch))
        with ThreadPoolExecutor(_READERS) as threads:
            raw = list(threads.map(lambda entry: self.artifacts.get(entry.key), entries))
        units = [BatchUnitResult.from_json(document) for document in raw]
        refused = [unit for unit in units if unit.refused]
        return BatchProgress(
            project=batch.project,
            batch=batch.batch,
            model_version=batch.model_version,
            status=status,
            units=batch.units,
            units_done=len(units),
            rows=batch.rows,
            rows_done=sum(unit.rows for unit in units),
            refused_units=len(refused),
            refused=[
                RefusedRows(key=unit.key, first=unit.first, reason=unit.refused)
                for unit in refused[:MAX_REFUSED_SHOWN]
            ],
            reason=reason,
        )

    def _key(self, project: str, request: BatchRequest) -> str:
        """The key or prefix that is asked for, in the data bucket."""
        if request.batch:
            return layout.batch_upload_prefix(project, request.batch)
        prefix = f"s3://{self.data.bucket}/"
        if not request.input.startswith(prefix):
            raise UserError(
                "`input` is no object of the data bucket",
                hint=f"it begins with {prefix}{layout.batches_prefix(project)}",
            )
        return request.input.removeprefix(prefix)

    def _champion(self, project: str) -> str:
        try:
            layout.checked_name(project)
        except UserError as fault:
            raise UnknownProjectError("no project has such a name") from fault
        alias = self.registry.alias(project)
        if alias is not None:
            return alias.champion
        if not self.artifacts.exists(layout.project_head_key(project)):
            raise UnknownProjectError("no project of that name was pushed")
        raise NoChampionError(project)

    def _attempt(self, project: str, content: str) -> tuple[str, Batch | None]:
        """The id to start under, and the batch that makes starting needless."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            name = content if attempt == 1 else f"{content}-{attempt}"
            planned, result = self._planned(project, name), self._result(project, name)
            if planned and result and result.status == "done":
                return name, planned
            if result is None and self.executions.ended_as(f"{project}-{name}") is None:
                # Either it runs, or it was planned and never started, or there is nothing yet: starting is safe.
                return name, None
        raise UserError(
            f"the same rows and model have failed {MAX_ATTEMPTS} times", hint="GET the batch for the reason"
        )

    def _planned(self, project: str, name: str) -> Batch | None:
        raw = self._read(layout.batch_key(project, name))
        return Batch.from_json(raw) if raw is not None else None

    def _result(self, project: str, name: str) -> BatchResult | None:
        raw = self._read(layout.batch_result_key(project, name))
        return BatchResult.from_json(raw) if raw is not None else None

    def _read(self, key: str) -> bytes | None:
        try:
            return self.artifacts.get(key)
        except KeyError:
            return None

"""In-memory answers to the ports of lehr.ports, with the errors that the AWS adapters raise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from lehr.contracts.approval import Approval, ApprovalStatus
from lehr.contracts.registry import (
    Alias,
    DatasetRecord,
    ErasureRecord,
    ModelRecord,
    RunRecord,
    TriggerRecord,
    Turn,
)
from lehr.errors import ChampionChangedError, ChangedDataError, OverwriteError
from lehr.ports import Sink, StoredObject

NOW = "2026-01-01T00:00:00.000Z"


def without_more(trained: dict[str, bytes]) -> dict[str, bytes]:
    """For package_best_trial: nothing is published beside what was trained."""
    return {}


class Kept:
    """A sink that counts how often it began anew."""

    def __init__(self) -> None:
        self.raw, self.restarts = b"", 0

    def write(self, piece: bytes) -> None:
        self.raw += piece

    def restart(self) -> None:
        self.raw, self.restarts = b"", self.restarts + 1


class InMemoryObjectStore:
    """One bucket as a dict; an ETag is the MD5 of the bytes, as S3's is for a plain upload.

    `reads` and `writes` list the keys in the order of the calls. With `is_versioned` bytes that were overwritten or
    deleted stay, under their ETag as the version.
    """

    def __init__(
        self,
        bucket: str = "bucket",
        objects: dict[str, bytes] | None = None,
        *,
        is_versioned: bool = False,
    ) -> None:
        self.bucket = bucket
        self.objects = dict(objects or {})
        self.is_versioned = is_versioned
        self.earlier: dict[tuple[str, str], bytes] = {}
        self.reads: list[str] = []
        self.writes: list[str] = []

    def get(self, key: str, *, etag: str | None = None, version: str = "") -> bytes:
        self.reads.append(key)
        if (key, version) in self.earlier:
            return self.earlier[key, version]
        if key not in self.objects:
            raise KeyError(self.uri(key))
        if etag is not None and etag != self.etag(key):
            raise ChangedDataError("was overwritten while a run was reading it", place=self.uri(key))
        return self.objects[key]

    def get_start(self, key: str, count: int) -> bytes:
        return self.get(key)[:count]

    def get_range(
        self, key: str, first: int, count: int, *, etag: str | None = None, version: str = ""
    ) -> bytes:
        return self.get(key, etag=etag, version=version)[first : first + count]

    def get_into(self, key: str, count: int, sink: Sink) -> None:
        sink.restart()
        sink.write(self.get_start(key, count))

    def put(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None:
        self.writes.append(key)
        if self.is_versioned and key in self.objects:
            self.earlier[key, self.etag(key)] = self.objects[key]
        self.objects[key] = bytes(body)

    def put_once(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> bool:
        if key not in self.objects:
            self.put(key, body, content_type=content_type)
            return True
        if self.objects[key] != body:
            raise OverwriteError(f"{self.uri(key)} is there already, with other bytes")
        return False

    def delete(self, key: str) -> None:
        if self.is_versioned:
            self.earlier[key, self.etag(key)] = self.objects[key]
        del self.objects[key]

    def copy(self, source: str, target: str) -> None:
        self.put(target, self.get(source))

    def exists(self, key: str) -> bool:
        return key in self.objects

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield StoredObject(key=key, etag=self.etag(key), bytes=len(self.objects[key]))

    def list_versions(self, prefix: str) -> Iterator[StoredObject]:
        for entry in self.list(prefix):
            yield replace(entry, version=entry.etag) if self.is_versioned else entry

    def folders(self, prefix: str) -> Iterator[str]:
        below = {
            key[len(prefix) :].split("/")[0]
            for key in self.objects
            if key.startswith(prefix) and "/" in key[len(prefix) :]
        }
        yield from sorted(below)

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def etag(self, key: str) -> str:
        """What the store would give as the object's ETag."""
        return hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()


class InMemoryRegistry:
    """The registry table as dicts; `faults` are raised by the next calls of `alias`, one each."""

    def __init__(self) -> None:
        self.aliases: dict[str, Alias] = {}
        self.generations: dict[str, list[Alias]] = {}
        self.model_records: dict[tuple[str, str], ModelRecord] = {}
        self.dataset_records: dict[tuple[str, str], DatasetRecord] = {}
        self.triggers: dict[tuple[str, str], TriggerRecord] = {}
        self.refusals: dict[str, TriggerRecord] = {}
        self.run_records: dict[tuple[str, str], RunRecord] = {}
        self.erasure_records: list[ErasureRecord] = []
        self.turns: dict[str, Turn] = {}
        self.faults: list[Exception] = []
        self.alias_reads = 0

    def alias(self, project: str) -> Alias | None:
        self.alias_reads += 1
        if self.faults:
            raise self.faults.pop(0)
        return self.aliases.get(project)

    def champions(self, project: str) -> list[Alias]:
        return self.generations.get(project, [])[::-1]

    def promote(self, project: str, version: str, *, run: str, generation: int) -> Alias:
        return self._move(project, version, owner=run, run=run, generation=generation)

    def begin_rollout(self, alias: Alias) -> Alias:
        current = self.aliases[alias.project]
        if (current.owner, current.champion, current.canary) == (alias.owner, alias.champion, alias.canary):
            return current
        if current.generation != alias.generation - 1:
            raise ChampionChangedError(f"{alias.project}: judged at generation {alias.generation - 1}")
        moved = msgspec.structs.replace(alias, previous=current.previous)
        self.aliases[alias.project] = moved
        self.generations.setdefault(alias.project, []).append(moved)
        return moved

    def roll_back(
        self, project: str, version: str, *, run: str, owner: str, generation: int, by: str, reason: str
    ) -> Alias:
        said = {"kind": "rollback", "by": by, "reason": reason}
        return self._move(project, version, owner=owner, run=run, generation=generation, **said)

    def _move(
        self, project: str, version: str, *, owner: str, run: str, generation: int, **said: Any
    ) -> Alias:
        current = self.aliases.get(project)
        if current and (current.owner, current.champion) == (owner, version):
            return current
        if (current.generation if current else 0) != generation:
            raise ChampionChangedError(f"{project}: judged at generation {generation}")
        self.aliases[project] = Alias(
            project=project,
            champion=version,
            previous=current.champion if current else None,
            generation=generation + 1,
            owner=owner,
            run=run,
            updated_at=NOW,
            **said,
        )
        self.generations.setdefault(project, []).append(self.aliases[project])
        return self.aliases[project]

    def set_refusal(self, record: TriggerRecord) -> None:
        self.refusals[record.project] = record

    def refusal(self, project: str) -> TriggerRecord | None:
        return self.refusals.get(project)

    def turn(self, project: str) -> Turn | None:
        return self.turns.get(project)

    def take_turn(self, turn: Turn, *, after: Turn | None) -> bool:
        if self.turns.get(turn.project) != after:
            return False
        self.turns[turn.project] = turn
        return True

    def wait_for_turn(self, turn: Turn, trigger: str) -> bool:
        current = self.turns.get(turn.project)
        if current is None or current.number != turn.number:
            return False
        self.turns[turn.project] = msgspec.structs.replace(current, waiting=[*current.waiting, trigger])
        return True

    def add_model(self, record: ModelRecord) -> None:
        self.model_records.setdefault((record.project, record.version), record)

    def models(self, project: str) -> list[ModelRecord]:
        records = [record for (owner, _), record in self.model_records.items() if owner == project]
        return sorted(records, key=lambda record: record.created_at, reverse=True)

    def retire(self, project: str, *, generation: int) -> None:
        current = self.aliases.get(project)
        if current and current.generation != generation:
            raise ChampionChangedError(f"{project} is no longer at generation {generation}")
        self.aliases.pop(project, None)
        self.generations.pop(project, None)

    def add_erasure(self, record: ErasureRecord) -> None:
        self.erasure_records.append(record)

    def erasures(self, project: str) -> list[ErasureRecord]:
        return [record for record in reversed(self.erasure_records) if record.project == project]

    def add_dataset(self, record: DatasetRecord) -> None:
        self.dataset_records.setdefault((record.project, record.version), record)

    def add_trigger(self, record: TriggerRecord) -> None:
        known = self.triggers.get((record.project, record.trigger))
        if known is None or known.outcome == "queued":
            self.triggers[record.project, record.trigger] = record

    def trigger(self, project: str, trigger: str) -> TriggerRecord | None:
        return self.triggers.get((project, trigger))

    def add_run(self, record: RunRecord) -> None:
        self.run_records.setdefault((record.project, record.run), record)

    def run(self, project: str, run: str) -> RunRecord | None:
        return self.run_records.get((project, run))

    def runs(self, project: str, *, limit: int = 50) -> list[RunRecord]:
        records = [record for (owner, _), record in self.run_records.items() if owner == project]
        return sorted(records, key=lambda record: record.started_at, reverse=True)[:limit]

    def datasets(self, project: str) -> list[DatasetRecord]:
        records = [record for (owner, _), record in self.dataset_records.items() if owner == project]
        return sorted(records, key=lambda record: record.created_at, reverse=True)

    def resume_run(self, project: str, run: str, *, execution_arn: str, resumes: int) -> None:
        record = self.run_records[project, run]
        if record.status == "failed":
            self.run_records[project, run] = msgspec.structs.replace(
                record, status="running", reason="", ended_at="", execution_arn=execution_arn, resumes=resumes
            )

    def end_run(self, project: str, run: str, **changes: str | float | None) -> None:
        record = self.run_records.get((project, run))
        if record and record.status == "running":
            fields = {name: value for name, value in changes.items() if value is not None}
            self.run_records[project, run] = msgspec.structs.replace(record, **{"ended_at": NOW, **fields})

    def set_run_trial(self, project: str, run: str, trial: str, trials: int) -> None:
        record = self.run_records.get((project, run))
        if record:
            changed = msgspec.structs.replace(record, trial=trial, trials=trials)
            self.run_records[project, run] = changed

    def set_run_erased(self, project: str, run: str) -> None:
        record = self.run_records.get((project, run))
        if record:
            self.run_records[project, run] = msgspec.structs.replace(record, is_erased=True)

    def set_run_cost(self, project: str, run: str, usd: float) -> None:
        record = self.run_records.get((project, run))
        if record:
            self.run_records[project, run] = msgspec.structs.replace(record, actual_usd=usd)


class InMemoryApprovals:
    """Approvals as a dict."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, int], Approval] = {}

    def ask(self, approval: Approval) -> bool:
        known = self.kept.get(_asked(approval))
        if known and known.status != "PendingManualApproval":
            return False
        self.kept[_asked(approval)] = approval
        return True

    def answer(self, approval: Approval, *, was: ApprovalStatus = "PendingManualApproval") -> bool:
        known = self.kept.get(_asked(approval))
        if known is None or (known.status, known.task_token) != (was, approval.task_token):
            return False
        self.kept[_asked(approval)] = approval
        return True

    def of_run(self, project: str, run: str) -> Approval | None:
        found = [one for one in self.of_project(project) if one.run == run]
        return max(found, key=lambda one: one.generation, default=None)

    def of_project(self, project: str) -> list[Approval]:
        return [one for (owner, *_), one in self.kept.items() if owner == project]


def _asked(approval: Approval) -> tuple[str, str, int]:
    return approval.project, approval.run, approval.generation


class Tokens:
    """Executions that wait: by token, what each was told to go on with; None while it waits."""

    def __init__(self, *tokens: str) -> None:
        self.told: dict[str, bytes | None] = dict.fromkeys(tokens)

    def go_on(self, token: str, output: bytes) -> bool:
        if self.told.get(token, b"") is not None:
            return False
        self.told[token] = output
        return True


class KeptNotices:
    """What was told, in order; with `is_away` nothing can be."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.is_away = is_away
        self.told: list[tuple[str, str]] = []
        self.announced: list[tuple[str, dict[str, str]]] = []

    def tell(self, subject: str, message: str) -> None:
        if self.is_away:
            raise ConnectionError("nobody listens")
        self.told.append((subject, message))

    def announce(self, detail_type: str, detail: Mapping[str, str]) -> None:
        self.announced.append((detail_type, dict(detail)))

"""What the rules and the functions ask of the world; `lehr.aws` and the tests' fakes answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

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


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One entry of a listing; `etag` has no quotes. `version` is empty where the bucket keeps none, and where the
    listing does not tell.
    """

    key: str
    etag: str
    bytes: int
    version: str = ""


class Sink(Protocol):
    """Where a body goes piece by piece; `restart` forgets what a broken attempt has left."""

    def write(self, piece: bytes, /) -> object: ...
    def restart(self) -> None: ...


class ObjectReader(Protocol):
    """What loading a model takes of a bucket. Missing objects raise KeyError with the key."""

    def get_start(self, key: str, count: int) -> bytes: ...
    def get_into(self, key: str, count: int, sink: Sink) -> None: ...
    def exists(self, key: str) -> bool: ...
    def uri(self, key: str) -> str: ...


class RangeReader(Protocol):
    """What reading a part of an object takes of a bucket. Missing objects raise KeyError with the key."""

    def get_range(
        self, key: str, first: int, count: int, *, etag: str | None = None, version: str = ""
    ) -> bytes: ...
    def uri(self, key: str) -> str: ...


class FolderReader(ObjectReader, Protocol):
    """What describing the models takes of a bucket."""

    def folders(self, prefix: str) -> Iterator[str]: ...


class PackageSigner(Protocol):
    """Who signs packages; `key_id` names the key."""

    @property
    def key_id(self) -> str: ...
    def sign(self, message: bytes) -> bytes: ...


class PackageVerifier(Protocol):
    """Whether a signature is one of the key `key_id`."""

    @property
    def key_id(self) -> str: ...
    def verify(self, message: bytes, signature: bytes) -> bool: ...


class ChampionPointers(Protocol):
    """Which model version serves a project; None before its first promotion."""

    def alias(self, project: str) -> Alias | None: ...


class ObjectStore(Protocol):
    """One bucket. Missing objects raise KeyError with the key."""

    @property
    def bucket(self) -> str: ...
    def get(self, key: str, *, etag: str | None = None, version: str = "") -> bytes: ...
    def get_start(self, key: str, count: int) -> bytes: ...
    def get_range(
        self, key: str, first: int, count: int, *, etag: str | None = None, version: str = ""
    ) -> bytes: ...
    def get_into(self, key: str, count: int, sink: Sink) -> None: ...
    def put(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None: ...
    def put_once(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> bool: ...
    def copy(self, source: str, target: str) -> None: ...
    def exists(self, key: str) -> bool: ...
    def list(self, prefix: str) -> Iterator[StoredObject]: ...
    def list_versions(self, prefix: str) -> Iterator[StoredObject]: ...
    def folders(self, prefix: str) -> Iterator[str]: ...
    def uri(self, key: str) -> str: ...


# As the limit of ModelRegistry.runs: more than a project will have.
EVERY_RUN = 1_000_000


class ModelRegistry(Protocol):
    """Runs, datasets, models, triggers and the alias of each project."""

    def alias(self, project: str) -> Alias | None: ...
    def champions(self, project: str) -> list[Alias]: ...
    def promote(self, project: str, version: str, *, run: str, generation: int) -> Alias: ...
    def begin_rollout(self, alias: Alias) -> Alias: ...
    def roll_back(
        self, project: str, version: str, *, run: str, owner: str, generation: int, by: str, reason: str
    ) -> Alias: ...
    def retire(self, project: str, *, generation: int) -> None: ...
    def add_model(self, record: ModelRecord) -> None: ...
    def models(self, project: str) -> list[ModelRecord]: ...
    def add_dataset(self, record: DatasetRecord) -> None: ...
    def datasets(self, project: str) -> list[DatasetRecord]: ...
    def add_erasure(self, record: ErasureRecord) -> None: ...
    def erasures(self, project: str) -> list[ErasureRecord]: ...
    def add_trigger(self, record: TriggerRecord) -> None: ...
    def trigger(self, project: str, trigger: str) -> TriggerRecord | None: ...
    def set_refusal(self, record: TriggerRecord) -> None: ...
    def refusal(self, project: str) -> TriggerRecord | None: ...
    def turn(self, project: str) -> Turn | None: ...
    def take_turn(self, turn: Turn, *, after: Turn | None) -> bool: ...
    def wait_for_turn(self, turn: Turn, trigger: str) -> bool: ...
    def add_run(self, record: RunRecord) -> None: ...
    def run(self, project: str, run: str) -> RunRecord | None: ...
    def runs(self, project: str, *, limit: int = 50) -> list[RunRecord]: ...
    def resume_run(self, project: str, run: str, *, execution_arn: str, resumes: int) -> None: ...
    def end_run(self, project: str, run: str, **changes: str | float | None) -> None: ...
    def set_run_trial(self, project: str, run: str, trial: str, trials: int) -> None: ...
    def set_run_cost(self, project: str, run: str, usd: float) -> None: ...
    def set_run_erased(self, project: str, run: str) -> None: ...


class Executions(Protocol):
    """Starting the state machine. A name can be used once: the second start returns False."""

    def arn_of(self, name: str) -> str: ...
    def start(self, name: str, body: bytes) -> tuple[str, bool]: ...
    def is_running(self, arn: str) -> bool: ...
    def input_of(self, arn: str) -> bytes | None: ...


@dataclass(frozen=True, kw_only=True)
class ExecutionEnd:
    """How an execution ended: Step Functions' own word, and when."""

    status: str
    at: datetime


class ExecutionEnds(Protocol):
    """Whether an execution of ours has ended; None: it goes on, or there is none of that name."""

    def ended_as(self, name: str) -> ExecutionEnd | None: ...


class BatchExecutions(ExecutionEnds, Protocol):
    """Starting the state machine of batch predictions, and how one of its executions ended."""

    def start(self, name: str, body: bytes) -> tuple[str, bool]: ...


class PresignedUrls(Protocol):
    """Addresses of objects of one bucket that need no signature for a while."""

    def to_get(self, key: str) -> str: ...
    def to_put(self, key: str) -> str: ...


@dataclass(frozen=True, kw_only=True)
class RunningJob:
    """A training job that is billed, with the run that it was started for; `handle` is what stops it."""

    name: str
    handle: str
    project: str
    run: str
    created_at: datetime


class Approvals(Protocol):
    """What waits for a person, and what was said; an answer is written once."""

    def ask(self, approval: Approval) -> bool: ...
    def answer(self, approval: Approval, *, was: ApprovalStatus = "PendingManualApproval") -> bool: ...
    def of_run(self, project: str, run: str) -> Approval | None: ...
    def of_project(self, project: str) -> list[Approval]: ...


class WaitingTasks(Protocol):
    """Executions that wait for an answer; False: this one waits no more."""

    def go_on(self, token: str, output: bytes) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class VersionFigures:
    """What the endpoint has measured of one model version since a moment; None: nothing.

    `lowest` and `highest` are of one number of each answer: a model whose answers are all the same has them equal.
    """

    requests: int = 0
    errors: int = 0
    latency_ms: float | None = None
    lowest: float | None = None
    highest: float | None = None
    compared: int = 0
    disagreements: int = 0


class EndpointFigures(Protocol):
    """The figures of the versions of a project, while two of them are asked."""

    def of_version(self, project: str, version: str, since: datetime) -> VersionFigures: ...


class Notices(Protocol):
    """Who wants to know: those who subscribed to the topic, and rules of the event bus."""

    def tell(self, subject: str, message: str) -> None: ...
    def announce(self, detail_type: str, detail: Mapping[str, str]) -> None: ...


class RunningJobs(Protocol):
    """The jobs of one backend that have not ended."""

    def running(self) -> Iterator[RunningJob]: ...
    def stop(self, job: RunningJob, reason: str) -> bool: ...


class TrainingLogs(Protocol):
    """What a training job printed."""

    def tail(self, job: str, lines: int) -> list[str]: ...
    def tail_of_batch(self, stream: str, lines: int) -> list[str]: ...
    def tail_of_function(self, group: str, stream: str, lines: int) -> list[str]: ...
    def url(self, job: str) -> str: ...


@dataclass(frozen=True, kw_only=True)
class ReadLines:
    """Lines of a log, each a JSON object; `is_sampled`: there were more, which were left out evenly over the time."""

    lines: list[bytes]
    is_sampled: bool


class CapturedLines(Protocol):
    """What the endpoint has written to its log about a project, from one moment until before another (epoch, ms)."""

    def read(self, kind: str, project: str, since_ms: int, until_ms: int) -> ReadLines: ...


class Events(Protocol):
    """The bus on which others hear of us."""

    def put(self, detail_type: str, detail: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class MirroredPackage:
    """A model version in another registry, which knows it by `handle` and says `status` of it."""

    version: str
    handle: str
    status: ApprovalStatus


class PackageMirror(Protocol):
    """Another registry that is told what Lehr's says: it is written, and believed in nothing."""

    def packages(self, project: str) -> list[MirroredPackage]: ...
    def add(
        self, project: str, version: str, source: str, properties: Mapping[str, str]
    ) -> MirroredPackage: ...
    def set_status(
        self, package: MirroredPackage, status: ApprovalStatus, reason: str, properties: Mapping[str, str]
    ) -> None: ...
    def has_reason(self, package: MirroredPackage, reason: str) -> bool: ...

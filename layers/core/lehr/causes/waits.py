"""What a run that goes on waits for, since when, and what would end it. Pure: what was seen is given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lehr.causes.rule import fill
from lehr.contracts.explanation import Evidence, Explanation

_THROTTLED = "Lambda.TooManyRequestsException"
_NO_MACHINE = frozenset(
    [
        "Starting",
        "Pending",
        "LaunchingMLInstances",
        "PreparingTrainingStack",
        "SUBMITTED",
        "PENDING",
        "RUNNABLE",
    ]
)
_PREPARING = frozenset(["Downloading", "DownloadingTrainingImage", "STARTING"])
_OVER = frozenset(
    ["Uploading", "Completed", "Stopping", "Stopped", "Failed", "SUCCEEDED", "FAILED", "MaxRuntimeExceeded"]
)

SENTENCES = {
    "waiting-for-capacity": (
        "The training job has no machine yet. It ends when one is found, or with backend.max_wait_s; then"
        " the next attempt begins."
    ),
    "waiting-for-spot": (
        "The spot instance was taken away. The job goes on from its checkpoint when another is found, or "
        "ends with backend.max_wait_s."
    ),
    "waiting-for-image-and-data": "The machine is there and fetches the image and the data.",
    "waiting-for-training": (
        "The training goes on. It ends with its last epoch, or with backend.max_runtime_s."
    ),
    "waiting-for-upload": "The training is over; its model is being saved.",
    "waiting-for-concurrency": (
        "A function was refused for want of concurrency, and is asked for again for about 20 minutes."
    ),
    "waiting-for-units": "The units of the data are worked on, so many at once as ShardConcurrency says.",
    "waiting-for-approval": "The model has passed the gate, and a person has to approve its promotion.",
    "waiting-for-canary": (
        "The new model answers a share of the requests, and is watched before it gets them all."
    ),
    "waiting-for-function": "A function works. It ends with its answer, or with the time limit of the state.",
    "waiting-for-start": "The execution has begun no state yet.",
    "queued-behind-run": (
        "Another run of the project goes on; what waits gets one run together when that has ended."
    ),
}
NOTICES = {
    "record-is-stale": (
        "The record says that the run goes on, and its execution has ended: nothing could write the end "
        "of the run."
    ),
    "report-not-written": "The run has ended without a report; its documents are there.",
    "dead-letters": (
        "Triggers have failed for good and rest in the dead-letter queue: data was dropped, and no run "
        "was started for it."
    ),
    "ended-at-wall": (
        "The training has stopped at [budget] stop_at_usd, and the best that it had by then was its candidate."
    ),
    "trigger-refused": "The last trigger of the project was refused, and no run was started for it.",
}


@dataclass(frozen=True, kw_only=True)
class JobSeen:
    """A training job as its backend describes it; `progress` is the last thing that its log says of an epoch."""

    name: str
    status: str = ""
    message: str = ""
    progress: str = ""


@dataclass(frozen=True, kw_only=True)
class RunSeen:
    """A run that goes on: its open state, since when, and what is known of the work in it.

    `done` of `of` units have ended; `last_error` is the name of the last error that the state has met and retries.
    """

    project: str
    run: str
    state: str = ""
    since: datetime | None = None
    now: datetime
    done: int = 0
    of: int | None = None
    last_error: str = ""
    jobs: tuple[JobSeen, ...] = ()


def explain_wait(seen: RunSeen) -> Explanation:
    """What the run waits for."""
    job = next((one for one in seen.jobs if one.status not in _OVER), seen.jobs[-1] if seen.jobs else None)
    name = _name(seen, job)
    evidence = []
    if seen.state and seen.since:
        waited = _duration(seen.now - seen.since)
        evidence.append(
            Evidence(
                source="state",
                text=f"{seen.state} since {seen.since.isoformat(timespec='seconds')} ({waited})",
            )
        )
    if seen.of:
        evidence.append(Evidence(source="history", text=f"{seen.done} of {seen.of} have ended"))
    if seen.last_error:
        evidence.append(Evidence(source="history", text=f"the last try ended with {seen.last_error}"))
    if job:
        told = ": ".join(part for part in (job.status, job.message) if part)
        evidence.append(Evidence(source="job", text=f"{job.name} {told}".strip()))
        if job.progress:
            evidence.append(Evidence(source="log", text=job.progress))
    named = {"project": seen.project, "run": seen.run}
    return Explanation(
        cause=name,
        sentence=SENTENCES[name],
        evidence=evidence,
        kept=[],
        next=[fill(command, named) for command in _NEXT.get(name, _LOOK)],
    )


_LOOK = ("lehr watch {run}", "lehr stop {run}")
_NEXT = {
    "waiting-for-capacity": ("lehr watch {run}", "lehr doctor {project}", "lehr stop {run}"),
    "waiting-for-concurrency": ("aws lambda get-account-settings", "lehr watch {run}"),
    "waiting-for-approval": ("lehr report {run}", "lehr watch {run}"),
}


def _name(seen: RunSeen, job: JobSeen | None) -> str:
    match seen.state:
        case "":
            return "waiting-for-start"
        case "AwaitApproval":
            return "waiting-for-approval"
        case "WatchCanary":
            return "waiting-for-canary"
        case "TrainTrials" if seen.last_error != _THROTTLED:
            return _of_job(job)
        case _ if seen.last_error == _THROTTLED:
            return "waiting-for-concurrency"
        case "PrepareShards" | "EvaluateShards":
            return "waiting-for-units"
        case _:
            return "waiting-for-function"


def _of_job(job: JobSeen | None) -> str:
    if job is None or job.status in _NO_MACHINE:
        return "waiting-for-capacity"
    if job.status == "Interrupted":
        return "waiting-for-spot"
    if job.status in _PREPARING:
        return "waiting-for-image-and-data"
    return "waiting-for-upload" if job.status == "Uploading" else "waiting-for-training"


def _duration(passed: timedelta) -> str:
    seconds = int(passed.total_seconds())
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds % 60:02} s"

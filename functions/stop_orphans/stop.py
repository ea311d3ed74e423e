"""The rule: no training job is billed whose execution has ended.

Stopping an execution stops its jobs, but as an attempt only: the call may be refused, or be lost in an outage.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from lehr.ports import ExecutionEnd, ExecutionEnds, ModelRegistry, RunningJob, RunningJobs
from lehr.resuming import MAX_RESUMES, execution_name


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one look has found."""

    seen: int
    stopped: list[str]
    failed: list[str]


@dataclass(frozen=True, kw_only=True)
class StopOrphans:
    """The operation, with what it needs of the world."""

    backends: Sequence[RunningJobs]
    executions: ExecutionEnds
    registry: ModelRegistry
    logger: logging.Logger

    def look(self) -> Round:
        """Stop every job that has outlived its execution. A job that cannot be stopped does not hold up the others."""
        seen, stopped, failed = 0, [], []
        for backend in self.backends:
            for job in backend.running():
                seen += 1
                try:
                    if self._stop_orphan(backend, job):
                        stopped.append(job.name)
                except Exception:
                    self.logger.exception("an orphan could not be stopped", extra={"job": job.name})
                    failed.append(job.name)
        return Round(seen=seen, stopped=stopped, failed=failed)

    def _end_of(self, job: RunningJob) -> ExecutionEnd | None:
        """How the execution of a job has ended, if it has.

        Of an execution that this stack does not know the job is another's; a job that is younger than the end belongs
        to the next one, in which the run was resumed, and which may be visible a moment later than its job.
        """
        for resumes in range(MAX_RESUMES + 1):
            end = self.executions.ended_as(execution_name(job.project, job.run, resumes))
            if end is None or job.created_at <= end.at:
                return end
        return None

    def _stop_orphan(self, backend: RunningJobs, job: RunningJob) -> bool:
        end = self._end_of(job)
        if end is None:
            return False
        reason = f"the execution ended as {end.status}; its training job {job.name} went on and was stopped"
        is_stopped = backend.stop(job, reason)
        self.registry.end_run(job.project, job.run, status="failed", reason=reason)
        self.logger.warning(
            "an orphan was stopped",
            extra={"job": job.name, "project": job.project, "run": job.run, "execution": end.status},
        )
        return is_stopped

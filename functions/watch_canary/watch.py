"""How a candidate does beside the champion: what takes it back at once, and what is said at the end of its time.

Errors, constant answers and disagreement are looked at from the first minute on, so that a bad candidate goes early;
latency once there is enough of it. Little traffic is no fault: the gate has let the candidate through, and the end says
that it was hardly tried.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lehr.contracts.recipe_tables import Rollout
from lehr.contracts.workflow import WatchedCanary, WatchRequest
from lehr.errors import ChampionChangedError
from lehr.ports import ChampionPointers, EndpointFigures, VersionFigures

# CloudWatch has a metric of a line of log within two minutes.
SETTLE_S = 120
MIN_WAIT_S, LOOKS = 60, 30
# Fewer errors than these are waited for: until the end one request may have had bad luck.
MIN_ERRORS = 3
# What is judged by comparison needs so many answers, also where the recipe asks for fewer.
MIN_COMPARED = 20


def watch(
    request: WatchRequest,
    registry: ChampionPointers,
    figures: EndpointFigures,
    *,
    at: datetime | None = None,
) -> WatchedCanary:
    """Whether the candidate stays, goes on to be watched, or is taken back. Raises ChampionChangedError."""
    moment = at or datetime.now(UTC)
    alias = registry.alias(request.project)
    if alias is None or (alias.generation, alias.canary) != (request.generation, request.version):
        raise ChampionChangedError(
            f"{request.project}: {request.version} was watched at generation {request.generation}, "
            f"the alias is now at {alias.generation if alias else 0}"
        )
    began, rollout = datetime.fromisoformat(request.began_at), request.rollout
    ends = began + timedelta(minutes=rollout.bake_minutes, seconds=SETTLE_S)
    canary, champion = (
        figures.of_version(request.project, version, began) for version in (request.version, alias.champion)
    )
    is_over = moment >= ends
    fault = fault_of(rollout, canary, champion, is_over=is_over)
    if fault:
        return WatchedCanary(verdict="withdraw", reason=f"taken back as a {rollout.strategy}: {fault}")
    if is_over:
        return WatchedCanary(verdict="complete", reason=_told(rollout, canary, champion))
    wait_s = max(MIN_WAIT_S, rollout.bake_minutes * 60 // LOOKS)
    return WatchedCanary(verdict="bake", reason="", wait_s=min(wait_s, _seconds(ends - moment)))


def fault_of(rollout: Rollout, canary: VersionFigures, champion: VersionFigures, *, is_over: bool) -> str:
    """Why the candidate must not stay; empty if nothing speaks against it."""
    if canary.errors >= (1 if is_over else MIN_ERRORS):
        share = 100 * canary.errors / canary.requests
        beside = 100 * champion.errors / champion.requests if champion.requests else 0.0
        if share > max(rollout.max_error_percent, beside):
            return (
                f"{canary.errors} of {canary.requests} requests failed ({share:.2g} %), "
                f"{beside:.2g} % of the champion's, at most {rollout.max_error_percent:g} % may"
            )
    enough = max(rollout.min_requests, MIN_COMPARED)
    if min(canary.requests, champion.requests) >= enough:
        if canary.lowest == canary.highest is not None and champion.lowest != champion.highest:
            return f"all of its {canary.requests} answers were the same, and the champion's were not"
        if canary.latency_ms is not None and champion.latency_ms:
            factor = canary.latency_ms / champion.latency_ms
            if factor > rollout.max_latency_factor:
                return (
                    f"{canary.latency_ms:.3g} ms for a request, {factor:.2g} times the champion's "
                    f"{champion.latency_ms:.3g}, at most {rollout.max_latency_factor:g} times may be"
                )
    limit = rollout.max_disagreement_percent
    if limit is not None and canary.compared >= enough:
        share = 100 * canary.disagreements / canary.compared
        if share > limit:
            return (
                f"another label than the champion's in {canary.disagreements} of {canary.compared} requests "
                f"({share:.3g} %), at most {limit:g} % may"
            )
    return ""


def _told(rollout: Rollout, canary: VersionFigures, champion: VersionFigures) -> str:
    """What the bake has shown, for the run's reason."""
    told = f"{rollout.strategy} for {rollout.bake_minutes} min: {canary.requests} requests, {canary.errors} failed"
    if canary.latency_ms is not None and champion.latency_ms is not None:
        told += f", {canary.latency_ms:.3g} ms beside {champion.latency_ms:.3g}"
    if canary.compared:
        told += f", another label in {100 * canary.disagreements / canary.compared:.3g} %"
    if canary.requests < rollout.min_requests:
        told += f"; fewer than {rollout.min_requests} requests, so this says little"
    return told


def _seconds(rest: timedelta) -> int:
    return max(1, int(rest.total_seconds()) + 1)

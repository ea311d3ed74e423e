"""Which former champion is meant, whether its package is whole, and the move back to it."""

from __future__ import annotations

from lehr import layout
from lehr.contracts.package import PACKAGE_FILE
from lehr.contracts.registry import Alias
from lehr.contracts.rollback import RollbackAnswer, RollbackRequest
from lehr.errors import ChampionChangedError, ModelPackageError, UserError
from lehr.model_packages import check_package
from lehr.ports import ModelRegistry, Notices, ObjectStore, PackageVerifier

_SHOWN = 5


def roll_back(
    request: RollbackRequest,
    artifacts: ObjectStore,
    registry: ModelRegistry,
    notices: Notices,
    verifier: PackageVerifier | None,
) -> RollbackAnswer:
    """Move the alias to a version that was champion before; a refusal changes nothing."""
    try:
        alias = _moved(request, artifacts, registry, verifier)
    except UserError as fault:
        return RollbackAnswer(
            project=request.project, outcome="refused", reason=fault.message, hint=fault.hint
        )
    return RollbackAnswer(
        project=request.project,
        outcome="rolled_back",
        champion=alias.champion,
        previous=alias.previous or "",
        generation=alias.generation,
        reason=alias.reason,
        untold=_tell(alias, notices),
    )


def choose(history: list[Alias], version: str, *, is_known: bool) -> Alias:
    """The latest promotion of the champion to go back to; `history` begins with the present generation.

    Without a version it is the champion that the present one replaced when it was promoted: going back twice goes
    two champions back, and not to the one that was left. While a canary is watched, it is the champion beside it.
    Raises UserError.
    """
    current = history[0]
    former = _former(history)
    if not version and current.canary:
        return former[current.champion]
    if not version:
        replaced = next((one.previous for one in history if _promoted(one, current.champion)), None)
        if replaced is None:
            raise UserError(
                f"{current.champion} is the first champion of {current.project}: there is none before it",
                hint="train a better one; a version that never was champion cannot be rolled back to",
            )
        return former[replaced]
    meant = [name for name in former if name.startswith(version)]
    if version in former:
        meant = [version]
    if len(meant) > 1:
        raise UserError(f"{version!r} may mean {', '.join(sorted(meant)[:_SHOWN])}", hint="type more of it")
    if not meant:
        raise _unknown(current, version, list(former), is_known=is_known)
    if meant[0] == current.champion and not current.canary:
        raise UserError(f"{meant[0]} is the champion of {current.project} already")
    return former[meant[0]]


def _moved(
    request: RollbackRequest,
    artifacts: ObjectStore,
    registry: ModelRegistry,
    verifier: PackageVerifier | None,
) -> Alias:
    project = layout.checked_name(request.project)
    history = registry.champions(project)
    if not history:
        raise UserError(
            f"{project} has no champion, and never had one",
            hint="`lehr runs` lists the projects; the first promotion makes a champion",
        )
    for one in history:
        # Asked again, for an answer that was lost: it is done, whatever has happened since.
        if one.owner == request.owner:
            return one
    is_known = bool(request.version) and _is_published(artifacts, project, request.version)
    target = choose(history, request.version, is_known=is_known)
    try:
        check_package(artifacts, project, target.champion, verifier)
    except ModelPackageError as fault:
        raise UserError(
            f"the package of {target.champion} is not whole: {fault}",
            hint="restore it within 30 days as docs/operations.md says, or name another former champion",
        ) from fault
    try:
        return registry.roll_back(
            project,
            target.champion,
            run=target.run,
            owner=request.owner,
            generation=history[0].generation,
            by=request.by,
            reason=request.reason,
        )
    except ChampionChangedError as fault:
        raise UserError(
            f"another champion was promoted while {project} was being rolled back",
            hint="look who serves now with `lehr runs`, and ask again if it still has to be done",
        ) from fault


def _former(history: list[Alias]) -> dict[str, Alias]:
    """The latest promotion of every version that is or was champion, the latest first."""
    former: dict[str, Alias] = {}
    for one in history:
        if _promoted(one, one.champion):
            former.setdefault(one.champion, one)
    # Of a champion before the history began only the version is known.
    for one in history:
        if one.previous and one.previous not in former:
            former[one.previous] = Alias(
                project=one.project, champion=one.previous, generation=0, owner="", updated_at=""
            )
    return former


def _promoted(alias: Alias, version: str) -> bool:
    return alias.kind == "promotion" and alias.champion == version


def _unknown(current: Alias, version: str, former: list[str], *, is_known: bool) -> UserError:
    others = [name for name in former if name != current.champion][:_SHOWN]
    hint = f"former champions are {', '.join(others)}" if others else "there is no former champion yet"
    if is_known:
        return UserError(
            f"{version} was never champion of {current.project}: only what has passed the gate may serve",
            hint=hint,
        )
    return UserError(f"{current.project} has no model version {version!r}", hint=hint)


def _is_published(artifacts: ObjectStore, project: str, version: str) -> bool:
    try:
        return artifacts.exists(layout.model_file_key(project, version, PACKAGE_FILE))
    except UserError:  # no name of a version
        return False


def _tell(alias: Alias, notices: Notices) -> str:
    """Tell whoever wants to know; a notice that cannot be sent changes nothing, and is why."""
    because = f" Reason: {alias.reason}" if alias.reason else ""
    by = f" by {alias.by}" if alias.by else ""
    detail = {
        "project": alias.project,
        "version": alias.champion,
        "previous": alias.previous or "",
        "reason": alias.reason,
        "by": alias.by,
    }
    try:
        notices.tell(
            f"Lehr: {alias.project} rolled back",
            f"The champion of {alias.project} is {alias.champion} again, "
            f"rolled back from {alias.previous}{by}.{because}",
        )
        notices.announce("ModelRolledBack", detail)
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"[:500]
    return ""

"""`lehr verify`: whether a model is what was published, who signed it over what, and whether it could be made again.

lehr verify mnist                             the champion
lehr verify mnist b7db83d0                    a version, by its start
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Annotated

import typer

from lehr import layout
from lehr.aws.kms import KmsVerifier
from lehr.contracts.package import LINEAGE_FILE, Lineage, ModelPackage
from lehr.contracts.provenance import Envelope, Statement
from lehr.contracts.registry import ModelRecord
from lehr.errors import ContractError, ModelPackageError, UserError
from lehr.model_packages import check_package, read_envelope
from lehr.provenance import check_provenance
from lehr.reproduction import missing_sources
from lehr_cli.data import ProjectArgument, require_project
from lehr_cli.doctor import drawn
from lehr_cli.failures import VerificationError
from lehr_cli.findings import Finding
from lehr_cli.invocation import Invocation, command
from lehr_cli.stack import Stack

ModelArgument = Annotated[
    str | None,
    typer.Argument(help="A model version, its start, or `champion` (default).", metavar="VERSION"),
]


@command
def verify(invocation: Invocation, project: ProjectArgument, version: ModelArgument = None) -> None:
    """Check every file of a model package, its signature, and what its lineage names.

    Example: lehr verify mnist
    """
    stack, out = invocation.stack, invocation.out
    record = find_model(stack, project, version)
    out.say(f"model {record.version} of {project}, made by run {record.run} on {record.created_at}", "dim")
    failed = []
    for finding in _findings(stack, record):
        out.say(drawn(finding))
        out.emit({"model": record.version} | finding.to_line())
        if finding.status == "fail":
            failed.append(finding)
    if failed:
        raise VerificationError(
            f"model {record.version} of {project} is not verified: {failed[0].saw}",
            "train it again, or have another promoted; docs/security.md says what each check proves",
        )
    out.emit({"event": "verified", "project": project, "model": record.version})


def find_model(stack: Stack, project: str, version: str | None) -> ModelRecord:
    """The version of that name or start, or the champion. Raises UserError with what is near, or that it was erased."""
    require_project(stack, project)
    records = stack.registry.models(project)
    wanted = version
    if version in (None, "champion"):
        alias = stack.registry.alias(project)
        if alias is None:
            raise UserError(f"{project} has no champion yet", hint=f"train one with: lehr train {project}")
        wanted = alias.champion
    matching = [record for record in records if record.version.startswith(wanted or "")]
    if not matching:
        known = [record.version for record in records]
        near = difflib.get_close_matches(wanted or "", known, n=3, cutoff=0.3) or known[:3]
        raise UserError(
            f"there is no model version {wanted!r} of {project}",
            hint=f"there are {', '.join(near)}" if near else f"train one with: lehr train {project}",
        )
    if len(matching) > 1:
        found = ", ".join(record.version for record in matching[:5])
        raise UserError(f"{wanted!r} may mean {found}", hint="type more of it")
    erased = {one for erasure in stack.registry.erasures(project) for one in erasure.models}
    if matching[0].version in erased and not stack.artifacts.exists(
        layout.model_file_key(project, matching[0].version, LINEAGE_FILE)
    ):
        raise UserError(
            f"model {matching[0].version} of {project} was erased, with the data that it learned from",
            hint=f"`lehr data lineage {project}` shows what there is",
        )
    return matching[0]


def verifier_of(stack: Stack) -> KmsVerifier | None:
    """Who is asked about signatures; None for a stack that signs no packages."""
    return KmsVerifier(stack.signing_key, stack.target.client("kms")) if stack.signing_key else None


def _findings(stack: Stack, record: ModelRecord) -> Iterator[Finding]:
    try:
        package, _ = check_package(stack.artifacts, record.project, record.version, None)
    except ModelPackageError as fault:
        yield Finding(check="files", status="fail", saw=str(fault))
        return
    if package.sha256() != record.package_sha256:
        saw = f"package.json is not the one of the registry, whose sha256 is {record.package_sha256}"
        yield Finding(check="files", status="fail", saw=saw)
        return
    total = sum(entry.bytes for entry in package.files.values())
    saw = f"{len(package.files)} files, {total:,} bytes, each with the sha256 of package.json"
    yield Finding(check="files", status="ok", saw=saw)
    signature, statement = _signature(stack, package)
    yield signature
    lineage = Lineage.from_json(
        stack.artifacts.get(layout.model_file_key(record.project, record.version, LINEAGE_FILE))
    )
    if statement:
        yield _agreement(statement, lineage)
    missing = missing_sources(lineage, stack.artifacts)
    yield Finding(
        check="lineage",
        status="warn" if missing else "ok",
        saw="; ".join(missing)
        or f"dataset {lineage.dataset_version}, code {lineage.code_sha[:12]} and what trained it are there",
        meaning="it cannot be trained again" if missing else "",
        command="" if missing else f"lehr reproduce {record.project} {record.version}",
    )


def _signature(stack: Stack, package: ModelPackage) -> tuple[Finding, Statement | None]:
    envelope = read_envelope(stack.artifacts, package.project, package.version)
    verifier = verifier_of(stack)
    if verifier is None:
        saw = "not signed: the stack has no key to sign with (PackageSignatures=none)"
        if envelope is not None:
            saw = f"signed with {_named(envelope)}, but the stack has no key to check it with"
        return Finding(check="signature", status="not_checked", saw=saw), None
    try:
        statement = check_provenance(envelope, package, package.sha256(), verifier)
    except ModelPackageError as fault:
        return Finding(check="signature", status="fail", saw=str(fault)), None
    said = statement.predicate
    figures = said.metrics
    accuracy = "" if figures.accuracy is None else f", accuracy {figures.accuracy:.4f}"
    saw = (
        f"by {verifier.key_id}, over package.json and: run {said.run}, dataset {said.dataset_version}, "
        f"code {said.code_sha[:12]}, image {said.image}, loss {figures.loss:.4f}{accuracy} on the {figures.split} split"
    )
    return Finding(check="signature", status="ok", saw=saw), statement


def _named(envelope: bytes) -> str:
    try:
        return ", ".join(one.keyid for one in Envelope.from_json(envelope).signatures)
    except ContractError:
        return "what cannot be read"


def _agreement(statement: Statement, lineage: Lineage) -> Finding:
    """Both are signed, so they can only differ if the signer wrote them so."""
    said = statement.predicate
    names = ("run", "trial", "dataset_version", "code_sha", "image", "trainer_version", "initial_version")
    differing = [name for name in names if getattr(said, name) != getattr(lineage, name)]
    if differing:
        saw = f"{LINEAGE_FILE} says something else of {', '.join(differing)}"
        return Finding(check="statement", status="fail", saw=saw)
    return Finding(check="statement", status="ok", saw=f"what was signed is what {LINEAGE_FILE} says")

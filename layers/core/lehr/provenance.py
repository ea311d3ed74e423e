"""The signature of a model package: made once, when it is published, and checked before it is promoted or loaded.

What is signed is a statement on package.json, which has the digest of every file. So one signature covers the model,
the lineage and the figures of training, and the statement besides names the data, the code and the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lehr.contracts.package import PACKAGE_FILE, Lineage, ModelPackage
from lehr.contracts.provenance import (
    PAYLOAD_TYPE,
    PROVENANCE_FILE,
    Envelope,
    EnvelopeSignature,
    ModelProvenance,
    Statement,
    Subject,
)
from lehr.errors import ContractError, ModelPackageError

if TYPE_CHECKING:
    from lehr.contracts.dataset import DatasetManifest
    from lehr.contracts.training import TrainingSummary
    from lehr.ports import PackageSigner, PackageVerifier

# KMS takes a message of 4,096 bytes at most; the statement of a package has about 1,000.
MAX_SIGNED_BYTES = 4096
MAX_ENVELOPE_BYTES = 16 << 10


def signed_bytes(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the type is signed with the payload, and neither can pass for the other.

    https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def state(
    package: ModelPackage, lineage: Lineage, summary: TrainingSummary, manifest: DatasetManifest
) -> Statement:
    """What is said of a package. It has no time in it: two attempts at publishing state the same."""
    return Statement(
        subject=[Subject(name=PACKAGE_FILE, digest={"sha256": package.sha256()})],
        predicate=ModelProvenance(
            project=package.project,
            version=package.version,
            run=lineage.run,
            trial=lineage.trial,
            dataset_version=lineage.dataset_version,
            dataset_sha256=manifest.sha256(),
            code_sha=lineage.code_sha,
            image=lineage.image,
            trainer_version=lineage.trainer_version,
            initial_version=lineage.initial_version,
            weights_sha256=summary.weights_sha256,
            metrics=summary.figures(),
        ),
    )


def sign(statement: Statement, signer: PackageSigner) -> bytes:
    """The envelope's bytes. Raises ModelPackageError for a statement that is too long to be signed."""
    payload = statement.to_json()
    message = signed_bytes(PAYLOAD_TYPE, payload)
    if len(message) > MAX_SIGNED_BYTES:
        raise ModelPackageError(
            f"{PROVENANCE_FILE}: has {len(message)} bytes to sign, over {MAX_SIGNED_BYTES}"
        )
    signature = EnvelopeSignature(keyid=signer.key_id, sig=signer.sign(message))
    return Envelope(payload=payload, signatures=[signature]).to_json()


def is_signed_as(statement: Statement, envelope: bytes) -> bool:
    """Whether an envelope is of this statement; by whom it is signed is not looked at."""
    try:
        return Envelope.from_json(envelope).payload == statement.to_json()
    except ContractError:
        return False


def check_provenance(
    envelope: bytes | None, package: ModelPackage, package_sha256: str, verifier: PackageVerifier
) -> Statement:
    """What was signed of a package, whose package.json has that digest. `envelope` None: the package has none.

    The key is the verifier's own, whatever the envelope names. Raises ModelPackageError if the envelope is absent, of
    other bytes than a signer writes, of another package, or signed by anybody else.
    """
    place = f"{package.version}: {PROVENANCE_FILE}"
    if envelope is None:
        raise ModelPackageError(f"{place} is not there: the package is not signed")
    try:
        read = Envelope.from_json(envelope)
        statement = Statement.from_json(read.payload)
    except ContractError as fault:
        raise ModelPackageError(f"{place}: {fault}") from fault
    # What is not signed, as base64 and spaces, must be as it was written too: then any other byte is refused.
    if read.to_json() != envelope or len(read.signatures) != 1:
        raise ModelPackageError(f"{place} is not as a signer writes it")
    subject, said = statement.subject, statement.predicate
    if subject != [Subject(name=PACKAGE_FILE, digest={"sha256": package_sha256})] or (
        said.project,
        said.version,
    ) != (package.project, package.version):
        raise ModelPackageError(f"{place} is of {said.project} {said.version}, or of other bytes")
    (signature,) = read.signatures
    if signature.keyid != verifier.key_id:
        raise ModelPackageError(f"{place} names the key {signature.keyid[:200]!r}, and not {verifier.key_id}")
    if not verifier.verify(signed_bytes(read.payload_type, read.payload), signature.sig):
        raise ModelPackageError(f"{place} is not signed by {verifier.key_id}")
    return statement

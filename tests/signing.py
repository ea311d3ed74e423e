"""A signing key of the tests' own, and packages that it has signed."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from lehr import layout
from lehr.contracts.figures import TrainingFigures
from lehr.contracts.package import PACKAGE_FILE, ModelPackage
from lehr.contracts.provenance import PROVENANCE_FILE, ModelProvenance, Statement, Subject
from lehr.ports import ObjectStore, PackageSigner
from lehr.provenance import sign


class LocalKey:
    """An ECC_NIST_P256 key that signs and verifies as KMS does with ECDSA_SHA_256."""

    def __init__(self, name: str = "arn:aws:kms:eu-central-1:123456789012:key/test") -> None:
        self.key_id = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.calls: list[bytes] = []

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message, ec.ECDSA(SHA256()))

    def verify(self, message: bytes, signature: bytes) -> bool:
        self.calls.append(message)
        try:
            self._key.public_key().verify(signature, message, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


def statement_of(package: ModelPackage) -> Statement:
    """What could be said of a package whose training nobody asks about."""
    return Statement(
        subject=[Subject(name=PACKAGE_FILE, digest={"sha256": package.sha256()})],
        predicate=ModelProvenance(
            project=package.project,
            version=package.version,
            run="r1",
            trial="0",
            dataset_version="d" * 16,
            dataset_sha256="d" * 64,
            code_sha="c0de",
            image="image",
            trainer_version="t1",
            initial_version="",
            weights_sha256="0" * 64,
            metrics=TrainingFigures(split="validation", epoch=1, accuracy=0.9, loss=0.1),
        ),
    )


def sign_package(store: ObjectStore, project: str, version: str, signer: PackageSigner) -> None:
    """Put the signature beside a package that is in the store."""
    package = ModelPackage.from_json(store.get(layout.model_file_key(project, version, PACKAGE_FILE)))
    store.put(layout.model_file_key(project, version, PROVENANCE_FILE), sign(statement_of(package), signer))

"""`provenance.json` of a model package: what was made of what, signed.

It is a DSSE envelope around an in-toto statement, so that whoever has the public key can check it without Lehr.
DSSE: https://github.com/secure-systems-lab/dsse/blob/master/envelope.md; the statement:
https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. Both name their fields; ours keep those names.
"""

from __future__ import annotations

from typing import Final, Literal

from lehr.contracts.document import Document, Part
from lehr.contracts.figures import TrainingFigures

PROVENANCE_FILE = "provenance.json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:lehr:model-provenance:1"


class ModelProvenance(Part, frozen=True, kw_only=True):
    """Where a model came from, in what a signer vouches for; lineage.json and training.json say more.

    Those are in the signature as well, by way of package.json, which has their digests. `dataset_sha256` is the digest
    of the dataset's manifest, whose start is the dataset version. `image` is what the training job was given: it pins
    its content only where it ends with a digest. `metrics` are those of training, not of the test split.
    """

    project: str
    version: str
    run: str
    trial: str
    dataset_version: str
    dataset_sha256: str
    code_sha: str
    image: str
    trainer_version: str
    initial_version: str
    weights_sha256: str
    metrics: TrainingFigures


class Subject(Part, frozen=True, kw_only=True):
    """A file that the statement is about, and its digests by algorithm."""

    name: str
    digest: dict[str, str]


class Statement(
    Document, frozen=True, kw_only=True, rename={"kind": "_type", "predicate_type": "predicateType"}
):
    """An in-toto statement with one subject, package.json."""

    kind: Literal["https://in-toto.io/Statement/v1"] = STATEMENT_TYPE
    subject: list[Subject]
    predicate_type: Literal["urn:lehr:model-provenance:1"] = PREDICATE_TYPE
    predicate: ModelProvenance


class EnvelopeSignature(Part, frozen=True, kw_only=True):
    """A signature in DER, and a hint at its key: here the key's ARN. JSON holds bytes in base64."""

    keyid: str
    sig: bytes


class Envelope(Document, frozen=True, kw_only=True, rename={"payload_type": "payloadType"}):
    """A DSSE envelope. The signature is over `lehr.provenance.signed_bytes` of type and payload."""

    payload_type: Literal["application/vnd.in-toto+json"] = PAYLOAD_TYPE
    payload: bytes
    signatures: list[EnvelopeSignature]

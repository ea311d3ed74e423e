"""What all documents have in common: strict decoding, canonical encoding, errors that name the place."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from typing import Any, Self

import msgspec

from lehr.errors import ContractError

# msgspec 0.22 looks at a type when it is first decoded, and the process ends with a segmentation fault where threads do
# that at the same moment with types that share a part. So one thread at a time does, and once.
_looking = threading.Lock()
_looked_at: set[type] = set()


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of a document; has no life, and so no schema version, of its own."""


class Document(Part, frozen=True, kw_only=True):
    """A document of its own. Subclasses declare `schema: Literal[n] = n`."""

    @classmethod
    def from_json(cls, raw: bytes | str) -> Self:
        """Decode. Raises ContractError with the path of the first field that does not fit."""
        _look_at(cls)
        try:
            return msgspec.json.decode(raw, type=cls)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as fault:
            raise ContractError(f"not a {cls.__name__}: {fault}") from fault

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """Build from decoded JSON, as a Lambda event is. Raises ContractError."""
        _look_at(cls)
        try:
            return msgspec.convert(value, type=cls)
        except msgspec.ValidationError as fault:
            raise ContractError(f"not a {cls.__name__}: {fault}") from fault

    def to_json(self) -> bytes:
        """Encode canonically: keys in the order of the type, maps sorted. Equal documents give equal bytes."""
        return msgspec.json.encode(self, order="deterministic")

    def to_value(self) -> dict[str, Any]:
        """As plain dicts, lists, numbers and strings, for an answer to Step Functions."""
        value: dict[str, Any] = msgspec.to_builtins(self)
        return value

    def sha256(self) -> str:
        """Hex digest of `to_json()`: the identity of a content-addressed document."""
        return hashlib.sha256(self.to_json()).hexdigest()


def _look_at(kind: type) -> None:
    """Have msgspec look at a type before anything is decoded as it."""
    if kind in _looked_at:
        return
    with _looking, suppress(msgspec.ValidationError):
        msgspec.convert({}, type=kind)
    _looked_at.add(kind)

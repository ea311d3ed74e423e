"""msgspec looks at a type when it is first decoded, and crashes where several threads do that at the same moment."""

from __future__ import annotations

from contextlib import suppress

from lehr.contracts.document import Document
from lehr.errors import ContractError


def look_at(*kinds: type[Document]) -> None:
    """Have these types looked at by this thread, before others begin."""
    for kind in kinds:
        with suppress(ContractError):
            kind.from_value({})
        with suppress(ContractError):
            kind.from_json(b"{}")

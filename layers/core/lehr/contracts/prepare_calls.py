"""What one call of prepare_shard takes on where a plan has more units than are worth a call each."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from lehr.contracts.document import Document
from lehr.contracts.table_units import PrepareTableUnit


class PrepareCall(Document, frozen=True, kw_only=True):
    """Units [first, first + count) of the run's plan, one after the other.

    `rest` is what an earlier call has left of the first of them, where it ran short of time within a unit.
    """

    schema: Literal[1] = 1
    kind: Literal["call"] = "call"
    project: str
    run: str
    first: int
    count: int
    rest: PrepareTableUnit | UnsetType = UNSET

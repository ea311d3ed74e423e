"""A rollback, as whoever asks for it and `rollback_model` tell each other."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lehr.contracts.document import Document

Said = Annotated[str, Meta(max_length=500)]


class RollbackRequest(Document, frozen=True, kw_only=True):
    """Serve a former champion again; without a `version`, the one that the present champion has replaced.

    A version may be given by its beginning. `owner` names this very request: asked twice, it is done once. `by` is
    who asks, as they say themselves.
    """

    schema: Literal[1] = 1
    project: str
    version: str = ""
    owner: Annotated[str, Meta(min_length=8, max_length=64)]
    by: Said = ""
    reason: Said = ""


class RollbackAnswer(Document, frozen=True, kw_only=True):
    """What came of it. Of a refusal, `reason` and `hint` say what is wrong and what to do.

    `untold`: why those who want to know could not be told.
    """

    schema: Literal[1] = 1
    project: str
    outcome: Literal["rolled_back", "refused"]
    champion: str = ""
    previous: str = ""
    generation: int = 0
    reason: str = ""
    hint: str = ""
    untold: str = ""

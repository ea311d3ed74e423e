"""What POST /feedback/{project} takes and gives."""

from __future__ import annotations

from typing import Annotated

import msgspec

MAX_FEEDBACK = 500
MAX_ID_CHARACTERS = 4096


class GivenLabel(msgspec.Struct, forbid_unknown_fields=True):
    """The true label of one prediction, by the id that POST /predict/{project}?ids=true has given it."""

    id: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARACTERS)]
    label: str


class Feedback(msgspec.Struct, forbid_unknown_fields=True):
    """Labels of earlier predictions; of a prediction that comes twice the last one counts."""

    feedback: Annotated[list[GivenLabel], msgspec.Meta(min_length=1, max_length=MAX_FEEDBACK)]


class FeedbackAnswer(msgspec.Struct):
    """How many predictions were labelled, and how many labels were of one that came again in the same body."""

    project: str
    accepted: int
    duplicates: int

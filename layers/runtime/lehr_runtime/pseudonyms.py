"""Pseudonyms of personal values: the same for the same value of a project, and of no use without the stack's key.

HMAC-SHA256 of the value, of which 128 bits are kept, under a key of the project's own: HMAC-SHA256 of its name under
the secret of the stack. What is learnt from is the pseudonym, so whoever asks a model is answered by the same one.
"""

from __future__ import annotations

import hmac

from lehr.errors import MissingKeyError

_BYTES = 16


class Pseudonyms:
    """Of one project; raises MissingKeyError without a secret."""

    def __init__(self, secret: str, project: str) -> None:
        if not secret:
            raise MissingKeyError(
                f"data.columns of {project} hashes a column, and the stack has no key to do it with",
                hint="deploy with a PiiKey of 32 random characters, and keep it: other keys give other pseudonyms",
            )
        self._key = hmac.digest(secret.encode(), project.encode(), "sha256")

    def of(self, text: str) -> str:
        """32 hex digits that stand for `text`."""
        return hmac.digest(self._key, text.encode(), "sha256")[:_BYTES].hex()

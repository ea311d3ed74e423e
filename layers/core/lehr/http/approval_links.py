"""The link with which a notification lets a person answer: a path of the endpoint with a secret at its end."""

from __future__ import annotations

PREFIX = "/approvals"
PATH = PREFIX + "/{project}/{run}/{secret}"


def approval_path(project: str, run: str, secret: str) -> str:
    return PATH.format(project=project, run=run, secret=secret)

"""Negative control: the endpoint, but each answer names the other of two versions."""

import os
from typing import Any

from functions.predict.app import handler as honest


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    one, other = os.environ["LYING_ABOUT"].split(",")
    result = honest(event, context)
    swapped = result["body"].replace(one, "\0").replace(other, one).replace("\0", other)
    return {**result, "body": swapped}

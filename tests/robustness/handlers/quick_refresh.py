"""The endpoint with champions read again every half second, so that a test sees many of them in its time."""

from functions.predict import champions
from functions.predict.app import handler

if not hasattr(champions, "REFRESH_S"):
    raise RuntimeError("functions.predict.champions has no REFRESH_S: how often are champions read again?")
champions.REFRESH_S = 0.5

__all__ = ["handler"]

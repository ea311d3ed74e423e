"""A log of JSON lines for where Powertools' Logger is too much: importing it is a fifth of the endpoint's cold start.

The lines have the names that Powertools gives them, so that one query reads the logs of all functions.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec


class JsonLog:
    """Writes to `stream`, stdout unless told, one line each. `extra` are more fields: names, numbers, documents."""

    def __init__(self, service: str = "", stream: TextIO | None = None) -> None:
        self._stream = stream
        self._service = service or os.environ.get("POWERTOOLS_SERVICE_NAME", "service_undefined")

    def info(self, message: str, *, extra: Mapping[str, Any] | None = None) -> None:
        self._write("INFO", message, extra or {})

    def warning(self, message: str, *, extra: Mapping[str, Any] | None = None) -> None:
        self._write("WARNING", message, extra or {})

    def exception(self, message: str, *, extra: Mapping[str, Any] | None = None) -> None:
        """An error, with the exception that is being handled and its stack."""
        import traceback

        fault = sys.exception()
        stack = {
            "exception": "".join(traceback.format_exception(fault)).rstrip(),
            "exception_name": type(fault).__name__,
        }
        self._write("ERROR", message, {**(extra or {}), **stack})

    def _write(self, level: str, message: str, extra: Mapping[str, Any]) -> None:
        line = {
            "level": level,
            "message": message,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "service": self._service,
            **extra,
        }
        stream = self._stream or sys.stdout  # looked up each time, for who redirects it
        stream.write(msgspec.json.encode(line, enc_hook=str).decode() + "\n")

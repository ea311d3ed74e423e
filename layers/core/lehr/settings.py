"""The environment of a function as a type, read once when its dependencies are first built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self, get_type_hints

from lehr.errors import ConfigurationError


class Environment:
    """Base of the frozen dataclasses that name a function's variables.

    A field `artifact_bucket: str` is read from ARTIFACT_BUCKET. Every field is required unless it
    has a default; a test holds the fields equal to the variables that template.yaml sets.
    """

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Build from `environ`. Raises ConfigurationError naming every variable that is missing or no number."""
        declared = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        kinds = get_type_hints(cls)
        values: dict[str, Any] = {}
        faults = []
        for name in sorted(declared):
            text = environ.get(name.upper(), "")
            if not text:
                if not hasattr(cls, name):
                    faults.append(f"{name.upper()} is not set")
                continue
            try:
                values[name] = kinds[name](text)
            except ValueError:
                faults.append(f"{name.upper()} is not of type {kinds[name].__name__}")
        if faults:
            raise ConfigurationError(f"{cls.__module__}: {'; '.join(faults)}")
        return cls(**values)

    @classmethod
    def variables(cls) -> set[str]:
        """Names of the environment variables that this type reads."""
        return {field.name.upper() for field in fields(cls)}  # type: ignore[arg-type]

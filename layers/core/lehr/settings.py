"""The environment of a function as a type, read once when its dependencies are first built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, get_type_hints

import msgspec

from lehr.errors import ConfigurationError


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the types that name a function's variables.

    A field `artifact_bucket: str` is read from ARTIFACT_BUCKET. Every field is required unless it
    has a default; a test holds the fields equal to the variables that template.yaml sets.
    """

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Build from `environ`. Raises ConfigurationError naming every variable that is missing or no number."""
        kinds = get_type_hints(cls)
        values: dict[str, Any] = {}
        faults = []
        defaults = cls.__struct_defaults__
        optional = {
            name
            for name, default in zip(reversed(cls.__struct_fields__), reversed(defaults), strict=False)
            if default is not msgspec.NODEFAULT
        }
        for name in sorted(cls.__struct_fields__):
            text = environ.get(name.upper(), "")
            if not text:
                if name not in optional:
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
        return {name.upper() for name in cls.__struct_fields__}

"""What values a key of lehr.toml may have: the types that several tables share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,31}$"

Fraction = Annotated[float, Meta(ge=0.0, le=0.5)]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0.0)]
NonNegativeFloat = Annotated[float, Meta(ge=0.0)]
BelowOne = Annotated[float, Meta(ge=0.0, lt=1.0)]
InstanceType = Annotated[str, Meta(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")]
Policy = Literal["reject", "warn"]
RowPolicy = Literal["reject", "quarantine", "warn"]
BackendKind = Literal["sagemaker", "batch", "lambda"]
SampleRate = Annotated[int, Meta(ge=4_000, le=48_000)]
Side = Annotated[int, Meta(ge=1, le=4096)]
Key = Annotated[str, Meta(pattern=r"^[^/\x00-\x1f][^\x00-\x1f]{0,199}$")]

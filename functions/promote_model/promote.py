"""The move of the alias, at the generation that the candidate was judged at."""

from __future__ import annotations

from lehr.contracts.workflow import PromoteRequest, Promotion
from lehr.ports import ModelRegistry


def promote(request: PromoteRequest, registry: ModelRegistry) -> Promotion:
    """Make the candidate champion. Raises ChampionChangedError if the alias has moved since."""
    alias = registry.promote(request.project, request.version, run=request.run, generation=request.generation)
    return Promotion(champion=alias.champion, previous=alias.previous, generation=alias.generation)

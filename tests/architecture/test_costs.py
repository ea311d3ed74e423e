"""The memory and timeouts that a cost is worked out with are those of the template."""

from __future__ import annotations

from typing import Any

from lehr.costs import CANARY_FUNCTIONS, RUN_FUNCTIONS, SHARD_FUNCTIONS


def test_costs_know_the_functions_as_the_template_has_them(functions: dict[str, dict[str, Any]]) -> None:
    declared = {
        properties["CodeUri"].split("/")[1]: (properties["MemorySize"] / 1024, properties["Timeout"])
        for properties in functions.values()
    }
    for name, size in (SHARD_FUNCTIONS | RUN_FUNCTIONS | CANARY_FUNCTIONS).items():
        assert declared[name] == size, name

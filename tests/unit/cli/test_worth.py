"""`lehr worth`: weighed as start_run weighs it, from what the stack has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from lehr import layout
from lehr.contracts.registry import RunRecord
from lehr_cli.stack import Stack
from lehr_cli.worth import weigh
from tests.fakes import InMemoryObjectStore, InMemoryRegistry
from tests.unit.functions.test_start_run import RECIPE


@pytest.mark.parametrize(("price", "is_worth"), [(0.1, False), (9.0, True)])
def test_the_champions_run_and_the_data_of_now_are_weighed(price: float, is_worth: bool) -> None:
    data, artifacts, registry = (
        InMemoryObjectStore("data"),
        InMemoryObjectStore("artifacts"),
        InMemoryRegistry(),
    )
    artifacts.put(layout.project_head_key("mnist"), b'{"code_sha": "c0de"}')
    recipe = f"{RECIPE}\n[retrain]\nmax_usd_per_point = {price}\n"
    artifacts.put(f"{layout.project_prefix('mnist', 'c0de')}lehr.toml", recipe.encode())
    data.put(f"{layout.incoming_prefix('mnist')}rows", b"x" * 2000)
    data.put(layout.ready_key("mnist"), b"y" * 999)
    registry.promote("mnist", "v1", run="r1", generation=0)
    registry.add_run(
        RunRecord(
            project="mnist",
            run="r1",
            status="promoted",
            started_at="2026-01-01T00:00:00.000Z",
            execution_arn="a",
            code_sha="c",
            fingerprint="f",
            model_version="v1",
            accuracy=0.9,
            actual_usd=0.5,
            raw_bytes=1000,
        )
    )
    stack = cast(Stack, SimpleNamespace(data=data, artifacts=artifacts, registry=registry))
    found = weigh(stack, "mnist")
    assert (found.growth, found.usd, found.is_worth) == (2.0, 1.0, is_worth)

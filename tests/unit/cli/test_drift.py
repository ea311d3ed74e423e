"""`lehr drift`: the last look as a person reads it, and the way to have one."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lehr import layout
from lehr.contracts.drift import ColumnDrift, DriftReport, DriftThresholds
from lehr.errors import UserError
from lehr_cli.drift import _look, columns_table, read_report
from lehr_cli.failures import CloudError
from lehr_cli.stack import Stack
from tests.fakes import InMemoryObjectStore


def report() -> DriftReport:
    columns = [
        ColumnDrift(
            name=name, kind="number", rows=900, psi=0.5, distance=0.3, p_value=1e-9, has_drifted=name == "km"
        )
        for name in ("km", "speed")
    ]
    return DriftReport(
        project="fares",
        model_version="v1",
        at="2026-01-31T12:00:00.000Z",
        since="2026-01-30T12:00:00.000Z",
        status="drifted",
        reason="1 of 2 comparisons: km (30%)",
        requests=50,
        rows=900,
        is_sampled=False,
        thresholds=DriftThresholds(min_rows=500, max_psi=0.2, max_distance=0.1, max_p_value=0.0005),
        columns=columns,
    )


def stack_with(payload: Any = None, **objects: bytes) -> Stack:
    def invoke(**_: Any) -> dict[str, Any]:
        body = io.BytesIO(json.dumps(payload).encode())
        return {"Payload": body} | ({"FunctionError": "Unhandled"} if "errorMessage" in payload else {})

    store = InMemoryObjectStore(
        "artifacts", {layout.drift_report_key(name): raw for name, raw in objects.items()}
    )
    target = SimpleNamespace(client=lambda _: SimpleNamespace(invoke=invoke))
    return cast(Stack, SimpleNamespace(artifacts=store, target=target, output=lambda name: name))


def test_the_report_of_the_last_look_is_read() -> None:
    assert read_report(stack_with(fares=report().to_json()), "fares") == report()


def test_where_nobody_has_looked_the_way_to_look_is_said() -> None:
    with pytest.raises(UserError, match="DriftCheck=ENABLED"):
        read_report(stack_with(), "fares")
    with pytest.raises(UserError, match="--now"):
        read_report(stack_with(fares=b'{"schema": 9}'), "fares")


def test_the_table_marks_what_has_drifted_and_says_what_it_was_held_against() -> None:
    table = columns_table(report())
    marks, names = (list(table.columns[place].cells) for place in (0, 1))
    assert (marks, names) == (["drifted", ""], ["km", "speed"])
    assert table.caption == "drifted: p < 0.0005, and PSI ≥ 0.2 or distance ≥ 0.1"


def test_a_look_that_fails_and_a_project_without_a_champion_are_said() -> None:
    with pytest.raises(CloudError, match="not looked at: fares"):
        _look(stack_with({"errorMessage": "not looked at: fares"}), "fares")
    with pytest.raises(UserError, match="no champion"):
        _look(stack_with({"projects": {}, "told": []}), "fares")
    _look(stack_with({"projects": {"fares": {}}, "told": []}), "fares")

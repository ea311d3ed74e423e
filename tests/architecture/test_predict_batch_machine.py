"""The state machine of batch predictions, held to what holds for a run's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonata
import pytest
import yaml

from tests.architecture import state_machine_gate as gate


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "statemachine/predict_batch.asl.yaml").read_text()


@pytest.fixture(scope="module")
def batch_machine(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def test_the_definition_has_no_finding(batch_machine: dict[str, Any], tmp_path: Path) -> None:
    assert gate.schema_findings(batch_machine, tmp_path) == []
    assert gate.dangling_findings(batch_machine) == []
    assert gate.jsonata_findings(batch_machine) == []
    assert gate.task_findings(batch_machine) == []


def test_every_substitution_is_defined_by_the_template_and_used(text: str, template: dict[str, Any]) -> None:
    defined = template["Resources"]["PredictBatchStateMachine"]["Properties"]["DefinitionSubstitutions"]
    assert gate.substitutions(text) == set(defined)


def test_states_that_call_a_function_carry_its_name_and_retry_as_those_of_a_run_do(
    batch_machine: dict[str, Any], machine: dict[str, Any]
) -> None:
    called = []
    for path, state, _ in gate.walk_states(batch_machine):
        if state.get("Resource") == "arn:aws:states:::lambda:invoke":
            name = path.rpartition("/")[2]
            assert state["Arguments"]["FunctionName"] == f"${{{name}Function}}"
            assert state["Retry"] == machine["States"]["SealDataset"]["Retry"]
            assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
            called.append(name)
    assert called == ["PredictBatchUnit", "SealBatch"]


def test_units_go_through_as_many_functions_at_once_as_the_parameter_says(
    batch_machine: dict[str, Any],
) -> None:
    units = batch_machine["States"]["PredictBatchUnits"]
    assert units["MaxConcurrency"] == "{% ${ShardConcurrency} %}"


def test_a_map_that_cannot_run_is_sealed_as_a_failure(batch_machine: dict[str, Any]) -> None:
    (catch,) = batch_machine["States"]["PredictBatchUnits"]["Catch"]
    assert catch["Next"] == "SealBatch"
    assert catch["Assign"]["failure"].keys() == {"state", "error", "cause"}


@pytest.mark.parametrize(
    ("units", "failure"),
    [
        ([{"index": 0, "rows": 4}], None),
        (
            [{"index": 0, "rows": 4}, {"error": "E", "cause": "why"}, {"error": "F", "cause": "x"}],
            {"state": "PredictBatchUnit", "error": "E", "cause": "why"},
        ),
    ],
)
def test_the_first_unit_that_failed_says_why_the_batch_did(
    batch_machine: dict[str, Any], units: list[dict[str, Any]], failure: dict[str, str] | None
) -> None:
    found = gate.EXPRESSION.fullmatch(
        batch_machine["States"]["PredictBatchUnits"]["Assign"]["failure"].strip()
    )
    assert found
    expression = jsonata.Jsonata(found[1])
    expression.assign("states", {"result": units})
    assert (expression.evaluate({}) or None) == failure

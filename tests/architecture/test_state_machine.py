"""The state machine: valid by itself, and of one mind with the template and the error tree."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import jsonata
import pytest
import yaml

from lehr import errors
from lehr_trainer.metrics import METRIC_DEFINITIONS
from tests.architecture import state_machine_gate as gate


@pytest.fixture(scope="module")
def bad(root: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((root / "tests/architecture/fixtures/bad.asl.yaml").read_text())
    return parsed


def test_the_definition_fits_the_schema_of_the_language(machine: dict[str, Any], tmp_path: Path) -> None:
    assert gate.schema_findings(machine, tmp_path) == []


def test_every_state_is_reached_and_leads_somewhere(machine: dict[str, Any]) -> None:
    assert gate.dangling_findings(machine) == []


def test_every_jsonata_expression_parses(machine: dict[str, Any]) -> None:
    assert gate.jsonata_findings(machine) == []


def test_every_task_has_a_timeout_and_arguments_that_its_service_accepts(machine: dict[str, Any]) -> None:
    assert gate.task_findings(machine) == []


def test_every_substitution_is_defined_by_the_template_and_used(
    machine_text: str, template: dict[str, Any]
) -> None:
    defined = template["Resources"]["RetrainStateMachine"]["Properties"]["DefinitionSubstitutions"]
    assert gate.substitutions(machine_text) == set(defined)


def test_every_error_name_of_our_own_is_a_class_of_the_error_tree(machine: dict[str, Any]) -> None:
    raised = {
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.LehrError)
    }
    foreign = gate.STATES_ERRORS | {name for name in gate.error_names(machine) if "." in name}
    assert gate.error_names(machine) - foreign <= raised
    assert gate.error_names(machine) - foreign, (
        "no error of our own is handled: this test would pass on anything"
    )


def test_every_error_class_stands_in_the_tree_of_the_docstring() -> None:
    raised = {
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.LehrError)
    }
    drawn = {name for name in raised if name in (errors.__doc__ or "")}
    assert drawn == raised


def test_every_task_of_the_top_level_ends_in_record_failure_or_says_why_not(machine: dict[str, Any]) -> None:
    after_the_fact = {"AnnounceStart", "AnnounceCandidate", "ExpireApproval", "RecordFailure", "WriteReport"}
    after_the_fact |= {"Notify", "Announce"}
    # What comes of a reproduction is the execution's answer: nobody waits for its end as for a run's.
    after_the_fact |= {"CompareReproduction"}
    for name, state in machine["States"].items():
        if state["Type"] not in {"Task", "Map"} or name in after_the_fact:
            continue
        catchers = {catch["Next"] for catch in state["Catch"] if "States.ALL" in catch["ErrorEquals"]}
        assert catchers == {"RecordFailure"}, name


def test_states_that_call_a_function_carry_its_name(machine: dict[str, Any]) -> None:
    for path, state, _ in gate.walk_states(machine):
        if state.get("Resource", "").startswith("arn:aws:states:::lambda:invoke"):
            assert state["Arguments"]["FunctionName"] == f"${{{path.rpartition('/')[2]}Function}}"


def test_functions_that_are_throttled_are_asked_again_for_about_20_minutes(machine: dict[str, Any]) -> None:
    asked = []
    for path, state, _ in gate.walk_states(machine):
        if not state.get("Resource", "").startswith("arn:aws:states:::lambda:invoke"):
            continue
        throttled, transient = state["Retry"]
        assert throttled["ErrorEquals"] == ["Lambda.TooManyRequestsException"], path
        assert "Lambda.TooManyRequestsException" not in transient["ErrorEquals"], path
        assert throttled["JitterStrategy"] == transient["JitterStrategy"] == "FULL", path
        waits = [
            min(
                throttled["IntervalSeconds"] * throttled["BackoffRate"] ** count, throttled["MaxDelaySeconds"]
            )
            for count in range(throttled["MaxAttempts"])
        ]
        # Full jitter takes half of each wait on average, and the whole of none.
        assert 18 * 60 < sum(waits) / 2 < 25 * 60, path
        assert waits[0] <= 10, path
        asked.append(path)
    assert {
        "PrepareShards/PrepareShard",
        "EvaluateShards/EvaluateShard",
        "AwaitApproval",
        "RecordFailure",
    } < set(asked)


def test_shards_go_through_as_many_functions_at_once_as_the_parameter_says(machine: dict[str, Any]) -> None:
    for name in ("PrepareShards", "EvaluateShards"):
        assert machine["States"][name]["MaxConcurrency"] == "{% ${ShardConcurrency} %}"


def test_the_gate_finds_a_dangling_target_and_an_orphan(bad: dict[str, Any]) -> None:
    assert gate.dangling_findings(bad) == [
        "Work: leads to Nowhere, which does not exist",
        "Orphan: nothing leads there",
    ]


def test_the_gate_finds_a_broken_expression(bad: dict[str, Any]) -> None:
    assert len(gate.jsonata_findings(bad)) == 1


def test_the_gate_finds_missing_unknown_and_mistyped_arguments_and_a_missing_timeout(
    bad: dict[str, Any],
) -> None:
    findings = gate.task_findings(bad)
    assert "Work: has no TimeoutSeconds" in findings
    assert "Work/Arguments: RoleArn is required" in findings
    assert "Work/Arguments: unknown StoppingConditions" in findings
    assert "Work/Arguments/ResourceConfig/InstanceCount: must be integer" in findings


def test_the_gate_finds_a_schema_fault(bad: dict[str, Any], tmp_path: Path) -> None:
    assert any("Succed" in finding for finding in gate.schema_findings(bad, tmp_path))


def test_sagemaker_reads_the_metrics_that_the_trainer_prints(machine: dict[str, Any]) -> None:
    request = machine["States"]["TrainTrials"]["ItemProcessor"]["States"]["RequestTraining"]["Output"]
    assert request["AlgorithmSpecification"]["MetricDefinitions"] == METRIC_DEFINITIONS


def test_every_outcome_of_a_run_has_an_event_of_its_own(machine: dict[str, Any]) -> None:
    (entry,) = machine["States"]["Announce"]["Arguments"]["Entries"]
    found = gate.EXPRESSION.fullmatch(entry["DetailType"])
    assert found
    expression = jsonata.Jsonata(found[1])
    events = {}
    for outcome in ("promoted", "rejected", "failed"):
        expression.assign("outcome", outcome)
        events[outcome] = expression.evaluate({})
    assert events == {"promoted": "ModelPromoted", "rejected": "ModelRejected", "failed": "RunFailed"}
    assigned = {
        state["Assign"]["outcome"]
        for state in machine["States"].values()
        if "outcome" in state.get("Assign", {})
    }
    assert assigned == events.keys()


def test_what_is_trained_again_leads_to_its_comparison_and_to_no_package(machine: dict[str, Any]) -> None:
    states = machine["States"]
    assert states["Reproduce"]["Assign"]["reproduces"] == "{% $states.input.reproduction.version %}"
    reached, name = [], "Reproduce"
    while states[name]["Type"] != "Succeed":
        state = states[name]
        reached.append(name)
        name = state.get("Next", state.get("Default", ""))
        for choice in state.get("Choices", []):
            condition = jsonata.Jsonata(choice["Condition"].removeprefix("{%").removesuffix("%}"))
            condition.assign("reproduces", "a-version")
            if condition.evaluate({}):
                name = choice["Next"]
    assert reached == ["Reproduce", "TrainTrials", "IsTrainedAgain", "CompareReproduction"]
    assert {catch["Next"] for catch in states["TrainTrials"]["Catch"]} == {"RecordFailure"}
    assert {catch["Next"] for catch in states["CompareReproduction"]["Catch"]} == {name}
    # A run is none: what Begin assigns goes on to ProposeTrials.
    assert states["Begin"]["Assign"]["reproduces"] == ""
    assert states["IsTrainedAgain"]["Default"] == "ProposeTrials"


def test_nothing_leads_around_the_approval_that_a_recipe_asks_for(machine: dict[str, Any]) -> None:
    states = machine["States"]
    first, second = states["Gate"]["Choices"]
    assert (first["Next"], second["Next"]) == ("AwaitApproval", "PromoteModel")
    assert "$approvalExpiresS > 0" in first["Condition"]
    (approved,) = states["IsApproved"]["Choices"]
    assert (approved["Next"], states["IsApproved"]["Default"]) == ("PromoteModel", "RecordRejection")
    leads = {
        name
        for name, state in states.items()
        for step in [state, *state.get("Choices", []), *state.get("Catch", [])]
        if "PromoteModel" in (step.get("Next"), step.get("Default"))
    }
    assert leads == {"Gate", "IsApproved", "IsBaked"}
    # After it was watched; nothing begins there.
    (bakes_on,) = states["IsBaked"]["Choices"]
    assert (bakes_on["Condition"], bakes_on["Next"]) == ("{% $step = 'begin' %}", "Bake")
    # A run that was overtaken is judged again, and passes the gate and the person again.
    (again,) = states["JudgeAgain"]["Choices"]
    assert again["Next"] == "PackageModel"


@pytest.mark.parametrize("name", ["AnnounceStart", "AnnounceCandidate", "Announce", "Notify", "WriteReport"])
def test_what_only_tells_others_never_changes_the_outcome(machine: dict[str, Any], name: str) -> None:
    state = machine["States"][name]
    assert [(catch["ErrorEquals"], catch["Next"]) for catch in state["Catch"]] == [
        (["States.ALL"], state["Next"])
    ]

"""What no linter finds in a state machine: dangling states, JSONata syntax, unknown substitutions, wrong arguments.

With `DefinitionUri` cfn-lint does not look into the file at all, so every check here returns its findings as
sentences; the tests hold the real file free of them and a bad fixture full of them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import jsonata
from botocore.model import Shape, StructureShape

EXPRESSION = re.compile(r"\{%(.*)%\}", re.DOTALL)
SUBSTITUTION = re.compile(r"\$\{(\w+)\}")
# cfn-lint 1.58.0 knows MaxConcurrency only as a number; in JSONata states it may be computed.
LINTER_MISTAKES = re.compile(r"E3601: '\{% [^']+ %\}' is not of type 'number'")
STATES_ERRORS = {"States.ALL", "States.TaskFailed", "States.Timeout"}


def walk_states(
    machine: dict[str, Any], path: str = ""
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every state with its path and the `States` map it lives in, those within Maps too."""
    for name, state in machine["States"].items():
        yield f"{path}{name}", state, machine["States"]
        if "ItemProcessor" in state:
            yield from walk_states(state["ItemProcessor"], f"{path}{name}/")


def walk_strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk_strings(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from walk_strings(inner, f"{path}/{index}")
    elif isinstance(value, str):
        yield path, value


def schema_findings(machine: dict[str, Any], directory: Path) -> list[str]:
    """The language's schema, by cfn-lint, which checks a definition only where it stands inline."""
    template = directory / "inline.json"
    resource = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {"RoleArn": "arn:aws:iam::123456789012:role/machine", "Definition": machine},
    }
    template.write_text(json.dumps({"Resources": {"Machine": resource}}))
    linter = "import sys; from cfnlint.runner import main; sys.exit(main())"
    command = [sys.executable, "-c", linter, "--format", "json", str(template)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if result.returncode and not result.stdout.strip():
        raise RuntimeError(result.stderr)
    findings = [
        f"{finding['Rule']['Id']}: {finding['Message']}" for finding in json.loads(result.stdout or "[]")
    ]
    return [finding for finding in findings if not LINTER_MISTAKES.fullmatch(finding)]


def dangling_findings(machine: dict[str, Any]) -> list[str]:
    """Targets that do not exist, and states that nothing leads to."""
    findings = []
    scopes = [("", machine)] + [
        (path + "/", state["ItemProcessor"])
        for path, state, _ in walk_states(machine)
        if "ItemProcessor" in state
    ]
    for path, scope in scopes:
        states = scope["States"]
        targets = {scope["StartAt"]}
        for name, state in states.items():
            nexts = [state.get("Next"), state.get("Default")]
            nexts += [rule.get("Next") for rule in state.get("Choices", []) + state.get("Catch", [])]
            for target in filter(None, nexts):
                targets.add(target)
                if target not in states:
                    findings.append(f"{path}{name}: leads to {target}, which does not exist")
        findings += [f"{path}{name}: nothing leads there" for name in states if name not in targets]
    return findings


def jsonata_findings(machine: dict[str, Any]) -> list[str]:
    """Expressions that do not parse."""
    findings = []
    for path, text in walk_strings(machine):
        # What is put in may be a number, and a name in its place would be no JSONata.
        found = EXPRESSION.fullmatch(SUBSTITUTION.sub("1", text.strip()))
        if not found:
            if "{%" in text:
                findings.append(f"{path}: an expression must be the whole string")
            continue
        try:
            jsonata.Jsonata(found[1])
        except Exception as fault:  # the library's errors have no common class
            findings.append(f"{path}: {fault}")
    return findings


def substitutions(text: str) -> set[str]:
    """Names in ${…}."""
    return set(SUBSTITUTION.findall(text))


def error_names(machine: dict[str, Any]) -> set[str]:
    """Names that a Retry or a Catch waits for."""
    return {
        name
        for _, state, _ in walk_states(machine)
        for handler in state.get("Retry", []) + state.get("Catch", [])
        for name in handler["ErrorEquals"]
    }


def task_findings(machine: dict[str, Any]) -> list[str]:
    """Tasks without a timeout, and arguments that the service's API does not know or misses."""
    session = botocore.session.get_session()
    findings = []
    for path, state, _ in walk_states(machine):
        if state["Type"] != "Task":
            continue
        if "TimeoutSeconds" not in state:
            findings.append(f"{path}: has no TimeoutSeconds")
        service, _, action = state["Resource"].removeprefix("arn:aws:states:::").partition(":")
        model = session.get_service_model(service)
        operation = action.partition(".")[0]
        shape = model.operation_model(operation[0].upper() + operation[1:]).input_shape
        findings += argument_findings(state["Arguments"], shape, f"{path}/Arguments")
    return findings


def argument_findings(value: Any, shape: Shape, path: str) -> list[str]:
    """Compare a value with the shape it will be serialised to; what is computed is taken at its word."""
    if isinstance(value, str) and EXPRESSION.fullmatch(value.strip()):
        return []
    if shape.type_name == "blob":
        return []
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            return [f"{path}: must be an object"]
        # Step Functions capitalises the names of services, as Batch, that do not do so themselves.
        members = {name[0].upper() + name[1:]: member for name, member in shape.members.items()}
        required = [name[0].upper() + name[1:] for name in shape.required_members]
        findings = [f"{path}: {name} is required" for name in required if name not in value]
        for name, inner in value.items():
            if name not in members:
                findings.append(f"{path}: unknown {name}")
            else:
                findings += argument_findings(inner, members[name], f"{path}/{name}")
        return findings
    if shape.type_name == "map":
        return [
            f
            for name, inner in value.items()
            for f in argument_findings(inner, shape.value, f"{path}/{name}")
        ]
    if shape.type_name == "list":
        return [
            finding
            for index, inner in enumerate(value)
            for finding in argument_findings(inner, shape.member, f"{path}/{index}")
        ]
    wanted = {"string": str, "boolean": bool, "integer": int, "long": int, "double": float, "float": float}
    kind = wanted.get(shape.type_name)
    if kind and not isinstance(value, kind):
        return [f"{path}: must be {shape.type_name}"]
    return []

"""The command line itself: its options, its errors, its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from botocore import exceptions as aws
from msgspec import structs
from typer.testing import CliRunner

from lehr.contracts.approval import Approval
from lehr.contracts.registry import Alias, RunRecord
from lehr.errors import ContractError, RecipeError
from lehr_cli.failures import CommandError, RunFailedError, explain
from lehr_cli.invocation import Invocation, command, shared_options
from lehr_cli.main import app
from lehr_cli.runs import lines

COMMANDS = (
    "demo",
    "push",
    "drop",
    "train",
    "watch",
    "stop",
    "runs",
    "why",
    "resume",
    "compare",
    "approve",
    "reject",
    "rollback",
    "predict",
    "report",
    "cost",
    "doctor",
)
DATA_COMMANDS = ("data ls", "data show", "data diff", "data card", "data lineage", "data forget")
runner = CliRunner()


def app_that(does: Callable[[Invocation], None]) -> typer.Typer:
    """An app of two commands, the first of which does something."""
    made = typer.Typer()
    made.callback()(shared_options)

    def act(invocation: Invocation) -> None:
        does(invocation)

    made.command("act")(command(act))
    made.command("other")(command(act))
    return made


def raising(fault: BaseException) -> typer.Typer:
    def does(invocation: Invocation) -> None:
        raise fault

    return app_that(does)


@pytest.mark.parametrize(
    "name", [*COMMANDS, "local up", "local down", "local status", "local env", "local logs", *DATA_COMMANDS]
)
def test_every_command_explains_itself_with_an_example_and_takes_json(name: str) -> None:
    result = runner.invoke(app, [*name.split(), "--help"])
    assert result.exit_code == 0
    assert "Example: " in result.stdout
    assert "--json" in result.stdout


def test_the_commands_are_these() -> None:
    listed = runner.invoke(app, ["--help"]).stdout
    for name in (*COMMANDS, "local"):
        assert f"\n  {name} " in listed


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "--stack", "mine", "act"],
        ["act", "--json", "--stack", "mine"],
        ["--json", "act", "--stack", "mine"],
    ],
)
def test_shared_options_stand_before_or_after_the_command(arguments: list[str]) -> None:
    seen: list[Invocation] = []
    assert runner.invoke(app_that(seen.append), arguments).exit_code == 0
    assert (seen[0].is_json, seen[0].stack_name, seen[0].is_aws) == (True, "mine", False)


@pytest.mark.parametrize(
    ("fault", "code", "sentence"),
    [
        (
            RecipeError("unknown key 'epoch'", place="lehr.toml", hint="did you mean 'epochs'?"),
            2,
            "lehr.toml: unknown",
        ),
        (CommandError("no", "but"), 2, "error: no"),
        (RunFailedError("run 1 failed"), 1, "error: run 1 failed"),
        (ContractError("not a Decision"), 3, "does not understand"),
        (aws.NoCredentialsError(), 3, "no usable AWS credentials"),
        (aws.EndpointConnectionError(endpoint_url="http://localhost:1"), 3, "the cloud does not answer"),
        (
            aws.ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not you"}}, "Invoke"),
            3,
            "AWS refused Invoke: AccessDeniedException: not you",
        ),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(fault: Exception, code: int, sentence: str) -> None:
    result = runner.invoke(raising(fault), ["act"])
    assert result.exit_code == code
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_with_json_an_error_is_a_document_too() -> None:
    result = runner.invoke(raising(CommandError("no", "but")), ["act", "--json"])
    assert json.loads(result.stdout) == {"event": "error", "message": "no", "hint": "but", "exit_code": 2}


def test_an_error_with_brackets_is_told_letter_by_letter() -> None:
    result = runner.invoke(raising(CommandError("[bold]x[/bold] [/nonsense]")), ["act"])
    assert "[bold]x[/bold] [/nonsense]" in result.stderr


def test_a_defect_of_the_program_is_not_hidden() -> None:
    result = runner.invoke(raising(ZeroDivisionError("a defect")), ["act"])
    assert isinstance(result.exception, ZeroDivisionError)
    assert explain(ZeroDivisionError()) is None


def test_ctrl_c_says_what_goes_on_and_ends_with_130() -> None:
    def does(invocation: Invocation) -> None:
        invocation.aftermath = "run 1 goes on"
        invocation.lasting = "the local cloud stays up"
        raise KeyboardInterrupt

    result = runner.invoke(app_that(does), ["act"])
    assert result.exit_code == 130
    assert "interrupted: run 1 goes on\nthe local cloud stays up" in result.stderr


def test_pushing_a_broken_recipe_is_refused_before_any_cloud_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "lehr.toml").write_text("[project]\nname = 'x'\ntusk = 'y'\n")
    result = runner.invoke(app, ["push", str(tmp_path)])
    assert result.exit_code == 2
    assert "unknown key 'project.tusk'" in result.stderr


def test_the_demo_is_for_the_local_cloud_only() -> None:
    result = runner.invoke(app, ["demo", "--aws"])
    assert result.exit_code == 2
    assert "lehr train mnist --data" in result.stderr


def test_predicting_wants_one_source_of_inputs() -> None:
    result = runner.invoke(app, ["predict", "mnist"])
    assert result.exit_code == 2
    assert "one of --input FILE, --row N, --image FILE, --audio FILE and --batch FILE" in result.stderr


def test_runs_are_lines_that_mark_the_champion_and_give_the_reason() -> None:
    base: dict[str, Any] = {"project": "mnist", "execution_arn": "a", "code_sha": "c", "fingerprint": "f"}
    records = [
        RunRecord(run="bbb", status="failed", started_at="2026-01-01T00:00:00Z", reason="too [hot]", **base),
        RunRecord(
            run="aaa",
            status="promoted",
            started_at="2026-01-01T00:00:00.000Z",
            ended_at="2026-01-01T00:01:05.250Z",
            model_version="c0ffee",
            accuracy=0.9794,
            champion_accuracy=0.9761,
            trial="3",
            trials=8,
            **base,
        ),
    ]
    alias = Alias(project="mnist", champion="c0ffee", generation=1, owner="aaa", updated_at="")
    drawn = lines("mnist", records, [alias]).plain.splitlines()
    assert [line.rstrip() for line in drawn] == [
        "mnist",
        "  bbb             failed",
        "      too [hot]",
        "● aaa             promoted 0.9794 vs 0.9761  c0ffee           1 min 05.2 s  champion  trial 3 of 8",
    ]


def test_a_rollback_stands_among_the_runs_and_the_run_whose_model_serves_is_marked() -> None:
    base: dict[str, Any] = {"project": "mnist", "execution_arn": "a", "code_sha": "c", "fingerprint": "f"}
    records = [
        RunRecord(
            run=run,
            status="promoted",
            started_at=f"2026-01-0{day}T00:00:00.000Z",
            ended_at=f"2026-01-0{day}T00:01:00.000Z",
            model_version=version,
            **base,
        )
        for day, run, version in ((3, "new", "v2"), (1, "old", "v1"))
    ]
    moves: list[dict[str, Any]] = [
        {"champion": "v1", "owner": "rollback-1", "kind": "rollback", "run": "old", "previous": "v2"},
        {"champion": "v2", "owner": "new", "run": "new", "previous": "v1"},
        {"champion": "v1", "owner": "old", "run": "old"},
    ]
    champions = [
        Alias(project="mnist", generation=3 - back, updated_at=f"2026-01-0{5 - back}T00:00:00.000Z", **move)
        for back, move in enumerate(moves)
    ]
    champions[0] = structs.replace(champions[0], reason="p99 doubled", by="arn:ada")
    drawn = lines("mnist", records, champions).plain.splitlines()
    assert [" ".join(line.split()) for line in drawn] == [
        "mnist",
        "↩ rolled back v2 → v1 2026-01-05T00:00:00Z",
        "p99 doubled (arn:ada)",
        "new promoted v2 1 min 00.0 s",
        "● old promoted v1 1 min 00.0 s champion",
    ]


@pytest.mark.parametrize(
    ("is_shadow", "says"),
    [(False, "v2 answers as a canary 10 % of the requests"), (True, "v2 is asked as a shadow in 10 %")],
)
def test_a_run_that_bakes_says_so_and_the_champion_stays_marked(is_shadow: bool, says: str) -> None:
    base: dict[str, Any] = {"project": "mnist", "execution_arn": "a", "code_sha": "c", "fingerprint": "f"}
    day = "2026-01-01T00:00:00.000Z"
    records = [
        RunRecord(run="new", status="running", started_at=day, **base),
        RunRecord(run="old", status="promoted", started_at=day, ended_at=day, model_version="v1", **base),
    ]
    alias = Alias(
        project="mnist",
        champion="v1",
        canary="v2",
        weight=0.1,
        is_shadow=is_shadow,
        generation=2,
        owner="new",
        run="old",
        updated_at=day,
    )
    _, new, waits, old = lines("mnist", records, [alias]).plain.splitlines()
    assert new.split() == ["new", "running"]
    assert waits.strip().startswith(says)
    assert waits.endswith("lehr rollback mnist ends it")
    assert old.startswith("● old")


def test_a_run_that_waits_for_a_person_says_for_what_and_how_to_answer() -> None:
    day = "2026-01-01T00:00:00.000Z"
    record = RunRecord(
        project="mnist",
        run="r7",
        status="running",
        started_at=day,
        execution_arn="a",
        code_sha="c",
        fingerprint="f",
    )
    approval = Approval(
        project="mnist",
        run="r7",
        version="v7",
        generation=1,
        status="PendingManualApproval",
        figures="accuracy 0.98",
        asked_at=day,
        expires_at="2026-01-04T00:00:00.000Z",
        task_token="t",
    )
    drawn = lines("mnist", [record], [], {"r7": approval}).plain.splitlines()
    assert drawn[2].strip() == "waits for approval until 2026-01-04T00:00:00Z: accuracy 0.98"
    assert drawn[3].strip() == "lehr approve r7, or lehr reject r7 --reason …"

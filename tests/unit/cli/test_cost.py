"""`lehr cost`: estimates without a cloud, bills from cost.json, prices from the Price List API's answers."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from lehr.contracts.cost import RunCost
from lehr.contracts.registry import RunRecord
from lehr.contracts.workflow import TrialResult
from lehr.costs import run_cost, trial_costs
from lehr.errors import UserError
from lehr.prices import PriceTable, load_prices
from lehr_cli import stack as deployed
from lehr_cli.cost import cost
from lehr_cli.failures import CommandError
from lehr_cli.invocation import Invocation
from lehr_cli.main import app
from lehr_cli.price_list import refreshed, to_text
from lehr_cli.target import Target
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

EXAMPLE = Path(__file__).parents[3] / "examples" / "mnist"
RECIPE = (EXAMPLE / "lehr.toml").read_text()
PRICES = load_prices()
runner = CliRunner()
bare: Any = inspect.unwrap(cost)


class Stack:
    """A stack with one project, in memory."""

    function_memory_mb = 0

    def __init__(self) -> None:
        self.artifacts = InMemoryObjectStore("artifacts")
        self.registry = InMemoryRegistry()
        self.artifacts.put("projects/mnist/head.json", b'{"code_sha": "c0de"}')
        self.artifacts.put("projects/mnist/c0de/lehr.toml", RECIPE.encode())

    def projects(self) -> list[str]:
        return ["mnist"]

    def add_run(self, run: str, **changes: Any) -> None:
        fields: dict[str, Any] = {
            "project": "mnist",
            "run": run,
            "status": "promoted",
            "started_at": "2026-01-31T12:00:00.000Z",
            "execution_arn": "arn",
            "code_sha": "c",
            "fingerprint": "f",
        }
        self.registry.add_run(RunRecord(**fields | changes))


class PriceList:
    """get_products as documented: a list of JSON texts, in pages."""

    def __init__(self, hours: dict[str, list[tuple[str, str]]]) -> None:
        self.hours = hours
        self.asked: list[dict[str, Any]] = []

    def get_products(self, **query: Any) -> dict[str, Any]:
        self.asked.append(query)
        wanted = {item["Field"]: item["Value"] for item in query["Filters"]}
        offers = self.hours.get(wanted.get("instanceName") or wanted["instanceType"], [])
        page = int(query.get("NextToken", 0))
        answer: dict[str, Any] = {"PriceList": [product(*offer) for offer in offers[page : page + 1]]}
        return answer | ({"NextToken": str(page + 1)} if page + 1 < len(offers) else {})


def product(usage: str, usd: str) -> str:
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": usd}}
    return json.dumps(
        {
            "product": {"attributes": {"usagetype": usage}},
            "terms": {"OnDemand": {"a": {"priceDimensions": {"b": dimension}}}},
        }
    )


def table(**hours: float) -> PriceTable:
    return msgspec.structs.replace(PRICES, instance_hour={"ml.g5.xlarge": 1.0, "g5.xlarge": 0.9, **hours})


def told(stack: Stack, what: str, *, is_json: bool = False) -> None:
    """Run the command against a stack in memory."""
    target = Target(session=None, region="us-east-1", endpoint_url="http://localhost:1")
    invocation = Invocation(given_target=target, is_json=is_json)
    invocation.__dict__["stack"] = stack
    bare(invocation, what)


def test_a_folder_is_estimated_without_any_cloud() -> None:
    result = runner.invoke(app, ["cost", str(EXAMPLE), "--json"])
    assert result.exit_code == 0
    (estimate,) = (json.loads(line) for line in result.stdout.splitlines())
    assert (estimate["project"], estimate["price_date"]) == ("mnist", PRICES.as_of)
    assert estimate["total_usd"] > estimate["trial_usd"] > 1
    assert f"list prices of {PRICES.as_of}, us-east-1" in result.stderr


@pytest.mark.parametrize(("today", "is_old"), [("2025-06-01", False), ("2026-06-01", True)])
def test_old_prices_are_called_old(today: str, is_old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lehr_cli.cost.load_prices", lambda: msgspec.structs.replace(PRICES, as_of="2025-05-01")
    )
    monkeypatch.setattr("lehr_cli.cost.now", lambda: f"{today}T12:00:00.000Z")
    said = runner.invoke(app, ["cost", str(EXAMPLE)]).stderr
    assert ("the prices are 396 days old" in said) is is_old


def test_a_folder_over_its_budget_says_what_will_happen(tmp_path: Path) -> None:
    (tmp_path / "lehr.toml").write_text(
        RECIPE + "\n[budget]\nmax_usd_per_run = 0.1\nmax_usd_per_month = 99\n"
    )
    said = runner.invoke(app, ["cost", str(tmp_path)]).stdout
    assert "budget of 0.1 USD for each run: OVER: start_run will refuse the run" in said
    assert "budget of 99 USD for each month: within" in said


def test_a_folder_with_a_wall_says_how_long_it_may_train(tmp_path: Path) -> None:
    (tmp_path / "lehr.toml").write_text(RECIPE + "\n[budget]\nstop_at_usd = 0.9\n")
    result = runner.invoke(app, ["cost", str(tmp_path)])
    (seconds,) = re.findall(r"stops at 0\.9 USD: (\d+) s of training for each trial", result.stdout)
    assert 600 < int(seconds) < 3600


def test_an_instance_type_without_a_price_names_the_command_that_finds_it(tmp_path: Path) -> None:
    (tmp_path / "lehr.toml").write_text(RECIPE.replace("ml.g5.xlarge", "ml.z9.huge"))
    result = runner.invoke(app, ["cost", str(tmp_path)])
    assert result.exit_code == 2
    assert "lehr cost --refresh --instance ml.z9.huge" in result.stderr


def test_nothing_named_and_nothing_here_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["cost"])
    assert result.exit_code == 2
    assert "there is no lehr.toml in this folder" in result.stderr


def test_a_project_is_expected_to_cost_what_its_last_runs_did(capsys: pytest.CaptureFixture[str]) -> None:
    stack = Stack()
    stack.add_run("a", actual_usd=0.1)
    stack.add_run("b", actual_usd=0.3)
    stack.add_run("c", estimated_usd=2.0)
    told(stack, "mnist", is_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["expected_usd"], document["expected_from_runs"]) == (0.2, 2)


def test_a_project_in_a_function_is_estimated_with_the_memory_of_the_stacks_function(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stack = Stack()
    head, _, rest = RECIPE.partition("[backend]\n")
    text = f'{head}[backend]\nkind = "lambda"\n\n{rest[rest.index("[gate]") :]}'
    stack.artifacts.put("projects/mnist/c0de/lehr.toml", text.encode())
    stack.function_memory_mb = 10_240
    told(stack, "mnist", is_json=True)
    (attempt,) = json.loads(capsys.readouterr().out)["attempts"]
    assert attempt["instance_type"] == "lambda-10240mb"


def test_a_stack_without_an_image_for_it_has_no_training_function() -> None:
    target: Any = None
    image = {"TrainerFunctionImageUri": "image"}
    sizes = [
        deployed.Stack(target, "lehr", {}, parameters).function_memory_mb
        for parameters in (
            {},
            {"TrainerFunctionMemoryMb": "4096"},
            image,
            image | {"TrainerFunctionMemoryMb": "4096"},
        )
    ]
    assert sizes == [0, 0, 3008, 4096]


def billed() -> RunCost:
    trials = trial_costs(
        TrialResult(id="0", status="Completed", job="j", training_seconds=3600, billable_seconds=900),
        "ml.g5.xlarge",
        PRICES,
    )
    return run_cost("mnist", "abc", trials, PRICES, shards=2)


def test_a_run_says_what_each_trial_was_billed_for(capsys: pytest.CaptureFixture[str]) -> None:
    stack = Stack()
    stack.add_run("abc")
    stack.artifacts.put("runs/mnist/abc/cost.json", billed().to_json())
    told(stack, "abc")
    printed = capsys.readouterr()
    said = printed.out
    assert "run abc of mnist: 0.3" in said
    assert "trial 0: 1 ml.g5.xlarge, 15 min 00.0 s billed, 0.3520 USD, 75% saved by spot capacity" in said
    assert "nothing was billed" in printed.err


def test_a_sum_that_is_not_whole_is_called_a_lower_bound(capsys: pytest.CaptureFixture[str]) -> None:
    stack = Stack()
    stack.add_run("abc")
    body = msgspec.structs.replace(billed(), is_complete=False).to_json()
    stack.artifacts.put("runs/mnist/abc/cost.json", body)
    told(stack, "abc")
    assert "run abc of mnist: at least 0.3" in capsys.readouterr().out


def test_a_run_whose_cost_was_never_written_gives_its_worst_case() -> None:
    stack = Stack()
    stack.add_run("abc", status="failed", estimated_usd=1.5)
    with pytest.raises(UserError, match=r"the cost of run abc of mnist is not known; at worst 1\.50 USD"):
        told(stack, "abc")


def test_refreshing_takes_the_hour_of_training_and_of_shared_linux() -> None:
    client = PriceList(
        {
            "ml.g5.xlarge": [("EUC1-Host:ml.g5.xlarge", "9.0"), ("EUC1-Train:ml.g5.xlarge", "1.761")],
            "g5.xlarge": [("EUC1-BoxUsage:g5.xlarge", "1.258"), ("EUC1-UnusedBox:g5.xlarge", "0.0")],
            "ml.p6.big": [("EUC1-Train:ml.p6.big", "50")],
        }
    )
    changed, absent = refreshed(table(old=1.0), client, "eu-central-1", "2026-01-31", ["ml.p6.big"])
    assert changed.instance_hour == {"g5.xlarge": 1.258, "ml.g5.xlarge": 1.761, "ml.p6.big": 50.0}
    assert absent == ["old"]
    assert (changed.as_of, changed.region) == ("2026-01-31", "eu-central-1")
    assert changed.source == f"AWS Price List API, instance hours; others as of {PRICES.as_of}"
    assert {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-central-1"} in client.asked[0][
        "Filters"
    ]
    assert PriceTable.from_json(to_text(changed)) == changed


def test_refreshing_twice_keeps_the_date_of_what_is_no_instance() -> None:
    client = PriceList({"ml.g5.xlarge": [("Train:ml.g5.xlarge", "1.4")]})
    once, _ = refreshed(table(), client, "us-east-1", "2026-01-31")
    twice, _ = refreshed(once, client, "us-east-1", "2026-02-28")
    assert twice.source.endswith(f"others as of {PRICES.as_of}")


def test_the_command_writes_the_table_that_it_read(tmp_path: Path) -> None:
    client = PriceList({"ml.g5.xlarge": [("Train:ml.g5.xlarge", "1.5")]})
    asked: list[Any] = []

    def make(*arguments: Any, **options: Any) -> Any:
        asked.append((arguments, options))
        return client

    target = Target(session=SimpleNamespace(client=make), region="us-east-1")
    target.__dict__["describe"] = lambda: "AWS"
    invocation = Invocation(given_target=target)
    path = tmp_path / "prices.json"
    bare(invocation, refresh=True, table=path)
    assert PriceTable.from_json(path.read_bytes()).hour("ml.g5.xlarge") == 1.5
    assert asked == [(("pricing",), {"region_name": "us-east-1"})]


def test_a_table_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    client = PriceList({"ml.g5.xlarge": [("Train:ml.g5.xlarge", "1.5")]})
    session = SimpleNamespace(
        client=lambda name, **_: SimpleNamespace(
            get_products=client.get_products, get_caller_identity=lambda: {"Account": "1"}
        )
    )
    invocation = Invocation(given_target=Target(session=session, region="us-east-1"))
    with pytest.raises(CommandError, match="cannot be written: No such file or directory"):
        bare(invocation, refresh=True, table=tmp_path / "absent" / "prices.json")


def test_a_local_cloud_has_no_prices() -> None:
    target = Target(session=None, region="us-east-1", endpoint_url="http://localhost:1")
    with pytest.raises(CommandError, match="prices are AWS's own"):
        bare(Invocation(given_target=target), refresh=True)

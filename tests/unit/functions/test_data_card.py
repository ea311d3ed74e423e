"""The data card of a version, and what the report of its run says of the checks."""

from __future__ import annotations

from functions.write_report.data_card import write_card
from functions.write_report.report import render
from functions.write_report.sources import read_sources
from lehr import layout
from lehr.contracts.workflow import ReportRequest
from tests.sealed import RUN, Sealed, images, of_images, of_table, table
from tests.unit.functions.test_write_report import Outline


def card_of(sealed: Sealed) -> str:
    name = write_card(sealed.checks, sealed.artifacts)
    assert name == f"{sealed.project}-{sealed.version}.card.html"
    return sealed.document(layout.dataset_card_key(sealed.project, sealed.version)).decode()


def test_a_card_of_images_shows_pictures_labels_and_every_check_and_needs_nothing_else() -> None:
    page = card_of(of_images(images()))
    outline = Outline(page)
    assert outline.open == []
    assert "script" not in outline.tags
    assert outline.addresses
    assert all(address.startswith("data:image/png;base64,") for address in outline.addresses)
    assert page.count("an example of b") == 4
    for part in ("overlap", "label drift", "brightness", "420 rows", "not checked"):
        assert part in page


def test_a_card_of_a_table_has_its_columns_its_samples_and_what_was_set_aside_with_the_reason() -> None:
    train, test = table(400, 1), table(150, 2)
    train[9], train[20] = test[4], "1.5,abc,A,cheap\n"
    for place in range(30, 40):
        train[place] = f"{place},120,<script>alert(1)</script>,cheap\n"
    page = card_of(of_table(train, test))
    assert "the same as test.csv 5, which is in the test split" in page
    assert "no number within float32" in page
    assert "<svg" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert Outline(page).open == []


def test_a_regressions_target_is_drawn_among_its_numbers() -> None:
    header = "km,minutes\n"
    rows = [header, *(f"{number * 7 % 911},{number * 13 % 577}\n" for number in range(900))]
    recipe = """
[project]
name = "delays"
task = "tabular_regression"
[data]
format = "csv"
files = ["part-1.csv"]
target = "minutes"
[training]
loss = "mse"
"""
    page = card_of(Sealed(recipe, {"part-1.csv": "".join(rows).encode()}).seal())
    assert "<h2>Labels" not in page
    assert page.count("<svg") == 2


def test_the_report_tells_the_checks_and_links_to_the_card_that_is_fetched_beside_it() -> None:
    sealed = of_images(images())
    sources = read_sources("shapes", RUN, sealed.artifacts, sealed.registry)
    request = ReportRequest(project="shapes", run=RUN, execution_arn="a", outcome="promoted")
    page = render(request, sources, [], write_card(sealed.checks, sealed.artifacts))
    assert "Data checks" in page
    assert f'href="shapes-{sealed.version}.card.html"' in page
    assert f"lehr data card shapes {sealed.version}" in page


def test_a_run_whose_data_was_rejected_reports_its_checks_and_has_no_card() -> None:
    sealed = of_images(images())
    rejected = sealed.checks.from_value(sealed.checks.to_value() | {"version": ""})
    assert write_card(rejected, sealed.artifacts) == ""
    sealed.artifacts.put(layout.data_checks_key("shapes", RUN), rejected.to_json())
    sources = read_sources("shapes", RUN, sealed.artifacts, sealed.registry)
    request = ReportRequest(project="shapes", run=RUN, execution_arn="a", outcome="failed")
    page = render(request, sources, [])
    assert "Data checks" in page
    assert "data card" not in page

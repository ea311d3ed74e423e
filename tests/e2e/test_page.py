"""The page as a person meets it: draw or drop, and see what the champion reads, in a real browser."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.browser import CHROMIUM, Browser
from tests.e2e.small_mnist import write_data, write_project
from tests.e2e.workplace import Workplace

TRAINING_JOBS = 1
ONE = [(0.5, 0.15), (0.5, 0.4), (0.5, 0.65), (0.5, 0.85)]
pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"no {CHROMIUM}: apt-get install chromium (.ci/run does)"
)


@pytest.fixture(scope="module")
def project(workplace: Workplace) -> str:
    """A project whose model was promoted."""
    name = workplace.project("page")
    assert workplace.lehr("push", str(write_project(workplace.folder / name, name))).code == 0
    data = write_data(workplace.folder / "data-page", 400)
    assert workplace.lehr("train", name, "--data", str(data)).code == 0
    return name


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as found:
        yield found


@pytest.fixture
def page(browser: Browser, workplace: Workplace, project: str) -> Browser:
    """The page, with the keys of the cloud typed in."""
    browser.open(f"{workplace.outputs()['EndpointUrl']}/?project={project}")
    type_keys(browser, workplace)
    return browser


def type_keys(browser: Browser, workplace: Workplace) -> None:
    """The keys of the cloud, into fields that both pages name alike."""
    credentials = workplace.cloud.session.get_credentials().get_frozen_credentials()
    browser.fill("#key", credentials.access_key)
    browser.fill("#secret", credentials.secret_key)
    browser.fill("#session", credentials.token or "")
    browser.fill("#region", workplace.cloud.region)


def answered(page: Browser) -> tuple[str, list[float]]:
    """The label and the ten probabilities that are shown."""
    page.wait(
        "document.querySelector('#label').textContent !== '?' || document.querySelector('#fault').textContent"
    )
    assert page.text("#fault") == ""
    shares = page.evaluate("[...document.querySelectorAll('#bars meter')].map(bar => bar.value)")
    return page.text("#label"), shares


def test_a_drawn_digit_is_answered_with_version_and_latency(page: Browser, tmp_path: Path) -> None:
    page.drag("#pad", ONE)
    label, shares = answered(page)
    page.screenshot(tmp_path / "drawn.png")
    assert label in set("0123456789")
    assert len(shares) == 10
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=0.01)
    assert len(page.text("#version")) == 16
    assert page.text("#latency").endswith("ms in the function")
    assert page.faults == []


def test_what_is_sent_is_a_centred_digit_of_28_by_28(page: Browser) -> None:
    page.evaluate(
        "window.sent = null; const real = fetch; window.fetch = (path, options) => "
        "{ window.sent = new Uint8Array(options.body); return real(path, options); }; 0"
    )
    page.drag("#pad", [(x * 0.4, y * 0.4) for x, y in ONE])
    answered(page)
    with Image.open(io.BytesIO(bytes(page.evaluate("[...window.sent]")))) as image:
        pixels = np.asarray(image.convert("L")).astype(float)
    assert pixels.shape == (28, 28)
    rows, columns = np.indices(pixels.shape)
    centre = (rows * pixels).sum() / pixels.sum(), (columns * pixels).sum() / pixels.sum()
    assert np.abs(np.array(centre) - 13.5).max() < 1
    assert np.flatnonzero(pixels.max(axis=1) > 20).size in range(18, 23)


def test_a_file_is_shown_and_answered(page: Browser, tmp_path: Path) -> None:
    path = tmp_path / "digit.png"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    page.choose_file("#file", path)
    assert len(answered(page)[1]) == 10
    assert "digit.png" in page.text("#source")
    page.screenshot(tmp_path / "file.png")


def test_a_file_that_is_no_image_is_refused_in_words(page: Browser, tmp_path: Path) -> None:
    path = tmp_path / "digit.png"
    path.write_text("hello")
    page.choose_file("#file", path)
    page.wait("document.querySelector('#fault').textContent")
    assert "neither a PNG nor a JPEG" in page.text("#fault")


@pytest.mark.parametrize("kind", ["keys", "none", "token"])
def test_without_valid_keys_nothing_is_predicted(page: Browser, kind: str) -> None:
    page.fill("#secret", "wrong")
    page.fill("#token", "a.b.c")
    page.fill("#kind", kind)
    page.drag("#pad", ONE)
    page.wait("document.querySelector('#fault').textContent")
    assert "403" in page.text("#fault")
    assert page.text("#label") == "?"


@pytest.fixture
def docs(browser: Browser, workplace: Workplace, project: str) -> Browser:
    """Swagger UI, once it shows the API."""
    open_docs(browser, workplace)
    return browser


def open_docs(browser: Browser, workplace: Workplace) -> None:
    browser.open(f"{workplace.outputs()['EndpointUrl']}/docs")
    browser.wait("document.querySelectorAll('.opblock').length > 10")


def type_into(docs: Browser, field: str, value: str) -> None:
    """React learns of what is typed by the event, and only if the value was set behind its back.

    Swagger UI takes it a moment later, or when the field is left.
    """
    setter = "Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set"
    docs.evaluate(f"{setter}.call({field}, {json.dumps(value)})")
    for event in ("Event('input'", "FocusEvent('focusout'"):
        docs.evaluate(f"{field}.dispatchEvent(new {event}, {{bubbles: true}}))")


def try_out(docs: Browser, operation: str, project: str) -> tuple[int, str]:
    """Open an operation, press Try it out and Execute; the status and the body that Swagger UI then shows."""
    block = f"document.querySelector('[id$={operation}]')"
    for button in (".opblock-summary-control", ".try-out__btn"):
        docs.wait(f"{block}.querySelector('{button}')")
        docs.evaluate(f"{block}.querySelector('{button}').click()")
    field = f"{block}.querySelector('input[placeholder=project]')"
    docs.wait(field)
    type_into(docs, field, project)
    docs.evaluate(f"{block}.querySelector('.execute').click()")
    answer = f"{block}.querySelector('.live-responses-table tbody .response')"
    docs.wait(answer)
    status = docs.evaluate(f"{answer}.querySelector('.response-col_status').textContent")
    body = docs.evaluate(f"{answer}.querySelector('.response-col_description').textContent")
    return int(status[:3]), str(body)


def test_the_api_is_shown_by_swagger_ui_under_a_strict_policy(docs: Browser, tmp_path: Path) -> None:
    docs.screenshot(tmp_path / "docs.png")
    shown = docs.text("#api")
    for path in ("/predict/{project}", "/predict/batch/{project}", "/v2/models/{model}/infer"):
        assert path in shown
    # Its style sheet is used, and none of its pictures or styles was refused.
    assert docs.evaluate("getComputedStyle(document.querySelector('.opblock')).borderTopStyle") == "solid"
    assert docs.faults == []


def test_trying_out_is_answered_with_keys_and_refused_without(
    docs: Browser, workplace: Workplace, project: str, tmp_path: Path
) -> None:
    assert try_out(docs, "get_models_project", project)[0] == 403
    open_docs(docs, workplace)
    type_keys(docs, workplace)
    status, body = try_out(docs, "get_models_project", project)
    docs.screenshot(tmp_path / "tried.png")
    assert status == 200
    assert "model_version" in body
    assert all("403" in fault for fault in docs.faults), docs.faults


def test_a_body_that_is_tried_out_is_signed_too(docs: Browser, workplace: Workplace, project: str) -> None:
    """Swagger UI's example is no row of the model: to be told so, one was let in."""
    type_keys(docs, workplace)
    status, body = try_out(docs, "post_predict_project", project)
    assert status == 422
    assert "urn:lehr:problem:input" in body


def test_a_query_is_signed_as_it_is_sent(docs: Browser, workplace: Workplace, project: str) -> None:
    type_keys(docs, workplace)
    address = f"/models/{project}?b=2&a=%2F%20é&a=1&empty="
    script = (
        f"signature('GET', '{address}', new ArrayBuffer(0), typedKeys())"
        f".then((headers) => fetch('{address}', {{headers}})).then((answer) => answer.status)"
    )
    assert docs.evaluate(script) == 200


def test_a_token_goes_as_it_was_given(docs: Browser, workplace: Workplace, project: str) -> None:
    type_keys(docs, workplace)
    docs.evaluate(
        "window.sent = null; const real = fetch; window.fetch = (address, options) => "
        "{ window.sent = new Headers(options.headers).get('authorization'); return real(address, options); }; 0"
    )
    docs.evaluate("document.querySelector('.btn.authorize').click()")
    field = "document.querySelector('#auth-bearer-value')"
    docs.wait(field)
    type_into(docs, field, "a.b.c")
    docs.evaluate(f"{field}.dispatchEvent(new Event('change', {{bubbles: true}}))")
    docs.evaluate(f"{field}.closest('form').querySelector('button[type=submit]').click()")
    docs.wait("document.querySelector('.auth-container .authorized, .auth-container h6')")
    docs.evaluate("document.querySelector('.modal-ux .close-modal').click()")
    assert try_out(docs, "get_models_project", project)[0] == 403
    assert docs.evaluate("window.sent") == "Bearer a.b.c"

"""Requests to the HTTPS endpoint, their answers, and the curl line that does the same."""

from __future__ import annotations

import base64
import json
import shlex
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from lehr.errors import UserError
from lehr_cli import endpoint
from lehr_cli.digit import draw
from lehr_cli.endpoint import ask, curl_line, read_answers, request_body
from lehr_cli.failures import CloudError
from lehr_cli.patience import send_patiently
from lehr_cli.predict import media_type, save_mask, show_answer
from lehr_cli.target import Target, local_target

LOCAL = local_target(
    {"endpoint_url": "http://localhost:4710", "region": "us-east-1", "ca_file": "/tmp/my files/ca.pem"}
)
ANSWER = {
    "project": "mnist",
    "model_version": "c0ffee",
    "predictions": [{"label": "7", "probability": 0.9, "probabilities": {"7": 0.9, "1": 0.1}}],
    "latency_ms": 0.6,
}


class Http:
    """Keeps the request and answers it."""

    def __init__(self, status: int, document: Any) -> None:
        self.response = SimpleNamespace(status_code=status, content=json.dumps(document).encode())

    def send(self, request: Any) -> Any:
        self.request = request
        return self.response


def stack() -> Any:
    return SimpleNamespace(target=LOCAL, endpoint_url="https://localhost:4743")


def test_a_request_is_signed_for_the_api_and_read_back() -> None:
    http = Http(200, ANSWER)
    (answer,) = ask(stack(), "mnist", request_body([[[0, 255]]]), http)
    assert http.request.url == "https://localhost:4743/predict/mnist"
    assert http.request.body == b'{"inputs":[[[0,255]]]}'
    signature = http.request.headers["Authorization"]
    assert "/us-east-1/execute-api/aws4_request" in str(signature)
    assert (answer.label, answer.probability, answer.version) == ("7", 0.9, "c0ffee")
    assert answer.latency_ms >= 0


def test_authorities_of_a_company_are_trusted_where_the_cloud_brings_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verified: list[Any] = []
    monkeypatch.setattr(endpoint, "URLLib3Session", lambda *, verify, **_: verified.append(verify))
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    aws = Target(session=None, region="us-east-1")
    endpoint.connection(aws)
    monkeypatch.setenv("AWS_CA_BUNDLE", "/etc/company.pem")
    endpoint.connection(aws)
    endpoint.connection(LOCAL)
    assert verified == [True, "/etc/company.pem", "/tmp/my files/ca.pem"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, UserError), (422, UserError), (503, UserError), (403, CloudError), (500, CloudError)],
)
def test_a_refusal_is_told_in_the_endpoints_words(status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"the endpoint answered {status}: mnist has no champion"):
        ask(stack(), "mnist", b"{}", Http(status, {"detail": "mnist has no champion"}))


def test_a_request_too_many_is_sent_again_with_a_signature_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(endpoint, "send_patiently", partial(send_patiently, sleep=pauses.append))
    http = Http(200, ANSWER)
    busy = SimpleNamespace(status_code=429, content=b"{}", headers={"Retry-After": "2"})
    responses = [busy, busy, http.response]
    sent: list[Any] = []

    def send(request: Any) -> Any:
        sent.append(request)
        return responses.pop(0)

    (answer,) = ask(stack(), "mnist", b"{}", SimpleNamespace(send=send))
    assert (answer.label, pauses, len(sent)) == ("7", [2.0, 2.0], 3)
    assert all("Authorization" in request.headers for request in sent)


def test_a_refusal_that_is_no_document_is_told_as_it_is() -> None:
    http = Http(502, {})
    http.response.content = b"<html>Bad Gateway"
    with pytest.raises(CloudError, match="502: <html>Bad Gateway"):
        ask(stack(), "mnist", b"{}", http)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"predictions": [{"label": "7"}], "model_version": "c"}']
)
def test_an_answer_of_another_shape_is_no_prediction(content: bytes) -> None:
    with pytest.raises(CloudError, match="no prediction"):
        read_answers(content, 1.0)


def test_the_curl_line_of_a_local_cloud_works_as_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    line = curl_line(LOCAL, "https://localhost:4743/predict/mnist", tmp_path / ".lehr" / "digit.json")
    assert shlex.split(line) == [
        "curl",
        "--cacert",
        "/tmp/my files/ca.pem",
        "--aws-sigv4",
        "aws:amz:us-east-1:execute-api",
        "--user",
        "local:local-secret",
        "-H",
        "Content-Type: application/json",
        "--data",
        "@.lehr/digit.json",
        "https://localhost:4743/predict/mnist",
    ]


def test_the_curl_line_for_aws_holds_no_key() -> None:
    session = boto3.Session("AKIAEXAMPLE", "very-secret", region_name="eu-west-1")
    line = curl_line(Target(session=session, region="eu-west-1"), "https://x/predict/mnist", Path("a.json"))
    assert "very-secret" not in line
    assert "AKIAEXAMPLE" not in line
    assert '--user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"' in line
    assert '-H "x-amz-security-token: $AWS_SESSION_TOKEN"' in line
    assert "--cacert" not in line


def test_an_image_is_sent_as_what_it_is_and_its_boxes_are_read_back(tmp_path: Path) -> None:
    box = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0}
    found = [{"label": "cat", "score": 0.9, "box": box}]
    document = {
        "project": "pets",
        "model_version": "c0ffee",
        "predictions": [{"detections": found}],
        "latency_ms": 1,
    }
    http = Http(200, document)
    (answer,) = ask(stack(), "pets", b"\x89PNG", http, content_type="image/png")
    assert http.request.headers["Content-Type"] == "image/png"
    assert (answer.objects, answer.label, answer.value) == (found, "", None)
    line = curl_line(LOCAL, "https://x/predict/pets", tmp_path / "cat.png", content_type="image/png")
    assert "Content-Type: image/png" in line
    assert "--data-binary" in shlex.split(line)
    assert media_type(tmp_path / "cat.png", b"\x89PNG\r\n") == "image/png"
    with pytest.raises(UserError, match="neither a PNG nor a JPEG"):
        media_type(tmp_path / "cat.gif", b"GIF89a")


def test_objects_are_told_a_line_each() -> None:
    box = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0}
    said: list[str] = []
    invocation: Any = SimpleNamespace(out=SimpleNamespace(say=lambda text: said.append(str(text))))
    for objects in ([{"label": "cat", "score": 0.9, "box": box}], []):
        document = {"model_version": "c0ffee", "predictions": [{"detections": objects}]}
        (answer,) = read_answers(json.dumps(document).encode(), 2.0)
        show_answer(invocation, answer)
    assert said[0] == "cat         0.9000  left 1.0  top 2.0  width 3.0  height 4.0"
    assert said[1].startswith("1 object  model c0ffee")
    assert said[2].startswith("nothing found")


def test_a_name_that_is_no_project_is_never_part_of_an_address() -> None:
    with pytest.raises(UserError, match="is not a name"):
        endpoint.predict_url(stack(), "../admin")


def test_an_image_is_drawn_two_rows_to_a_line_without_its_margin() -> None:
    pixels = [[0, 0], [255, 0], [255, 255], [0, 0]]
    assert draw(pixels, has_colour=False).plain == "█▒\n"
    assert draw(pixels, has_colour=True).plain == "▀▀\n"


def test_an_empty_image_can_be_drawn() -> None:
    assert draw([[0, 0]], has_colour=False).plain == "  \n"


MASK = b"\x89PNG and more"


def _segmented() -> dict[str, Any]:
    one = {
        "mask": base64.b64encode(MASK).decode(),
        "probability": 0.75,
        "shares": {"ground": 0.9, "7": 0.1, "8": 0},
    }
    return ANSWER | {"labels": ["ground", "7", "8"], "predictions": [one]}


def test_an_image_is_sent_as_it_is_and_its_mask_read_back() -> None:
    http = Http(200, _segmented())
    (answer,) = ask(stack(), "mnist", b"\xff\xd8\xff", http, content_type="image/jpeg")
    assert http.request.headers["Content-Type"] == "image/jpeg"
    assert (answer.mask, answer.mean_probability, answer.shares["7"]) == (MASK, 0.75, 0.1)


def test_a_mask_is_shown_by_its_largest_shares_and_saved(tmp_path: Path) -> None:
    (answer,) = read_answers(json.dumps(_segmented()).encode(), 1.0)
    said: list[str] = []
    invocation: Any = SimpleNamespace(out=SimpleNamespace(say=lambda text, style="": said.append(str(text))))
    show_answer(invocation, answer)
    save_mask(invocation, [answer], tmp_path / "mask.png")
    assert said[0].startswith("pixels ground 90.0%  7 10.0%  mean probability 0.7500")
    assert (tmp_path / "mask.png").read_bytes() == MASK
    (plain,) = read_answers(json.dumps(ANSWER).encode(), 1.0)
    with pytest.raises(UserError, match="the model gives no mask"):
        save_mask(invocation, [plain], tmp_path / "none.png")


def test_an_image_is_known_by_its_first_bytes() -> None:
    assert media_type(Path("a.bin"), MASK) == "image/png"
    assert media_type(Path("a.png"), b"\xff\xd8\xff\xe0") == "image/jpeg"
    with pytest.raises(UserError, match=r"notes\.txt: is neither a PNG nor a JPEG file"):
        media_type(Path("notes.txt"), b"hello")


def test_the_curl_line_of_an_image_sends_its_bytes() -> None:
    line = curl_line(LOCAL, "https://x/predict/p", Path("a.png"), content_type="image/png")
    assert "-H 'Content-Type: image/png' --data-binary @a.png" in line

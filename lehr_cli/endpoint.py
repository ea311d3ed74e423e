"""The HTTPS endpoint as a client sees it: signed requests, their answers, and the same thing as a curl line."""

from __future__ import annotations

import base64
import json
import os
import shlex
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError
from botocore.httpsession import URLLib3Session

from lehr.errors import UserError
from lehr.layout import checked_name
from lehr_cli.failures import CloudError
from lehr_cli.patience import PATIENCE_S, send_patiently
from lehr_cli.stack import Stack
from lehr_cli.target import Target

SERVICE = "execute-api"
JSON, WAV = "application/json", "audio/wav"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One prediction; `latency_ms` is what the caller waited, connection and signature included.

    A regression gives a `value`, and no label; a segmentation a `mask`, a PNG file, and `shares` of its labels; object
    detection gives `objects`, which may be none.
    """

    label: str
    probabilities: Mapping[str, float]
    version: str
    latency_ms: float
    document: Mapping[str, Any]
    value: float | None = None
    mask: bytes = b""
    shares: Mapping[str, float] = field(default_factory=dict)
    mean_probability: float | None = None
    objects: Sequence[Mapping[str, Any]] | None = None

    @property
    def probability(self) -> float:
        return self.probabilities.get(self.label, float("nan"))


def predict_url(stack: Stack, project: str) -> str:
    return f"{stack.endpoint_url}/predict/{checked_name(project)}"


def request_body(rows: Sequence[Any], field: str = "inputs") -> bytes:
    """The request for some rows, as JSON."""
    return json.dumps({field: list(rows)}, separators=(",", ":")).encode()


def connection(target: Target) -> Any:
    """An HTTPS connection that is kept for the next request, as clients keep theirs."""
    # boto3 heeds the variable in its own clients; a proxy that opens TLS stands before the endpoint too.
    authorities = target.ca_file or os.environ.get("AWS_CA_BUNDLE")
    return URLLib3Session(
        verify=str(authorities) if authorities else True,
        timeout=(3, 60),
        # Without it a request in two packets waits 40 ms for the acknowledgement of the first.
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )


def ask(
    stack: Stack, project: str, body: bytes, http: Any = None, *, content_type: str = JSON
) -> list[Answer]:
    """Send a request and read its predictions.

    Raises UserError for one that the endpoint refuses.
    While there are too many requests it is sent again, for PATIENCE_S at most; the latency is the last one's.
    """
    http = http or connection(stack.target)
    url, began = predict_url(stack, project), 0.0

    def send() -> Any:
        nonlocal began
        began = time.perf_counter()
        return send_signed(stack.target, "POST", url, body, http, content_type=content_type)

    response = send_patiently(send)
    latency_ms = (time.perf_counter() - began) * 1000
    if response.status_code != 200:
        raise refusal(project, response.status_code, response.content)
    return read_answers(response.content, latency_ms)


def send_signed(
    target: Target, method: str, url: str, body: bytes, http: Any, *, content_type: str = JSON
) -> Any:
    """The response to a request that is signed for the endpoint, whatever its status is."""
    request = AWSRequest(method, url, {"Content-Type": content_type}, body)
    credentials = target.session.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    SigV4Auth(credentials, SERVICE, target.region).add_auth(request)
    return http.send(request.prepare())


def read_answers(content: bytes, latency_ms: float) -> list[Answer]:
    """The predictions of an answer. Raises CloudError when it does not look like one."""
    try:
        document = json.loads(content)
        return [
            Answer(
                **_told(one),
                version=str(document["model_version"]),
                latency_ms=latency_ms,
                document=document,
            )
            for one in document["predictions"]
        ]
    except (ValueError, KeyError, TypeError) as fault:
        raise CloudError(f"the endpoint answered {content[:200]!r}, which is no prediction") from fault


def _told(one: Mapping[str, Any]) -> dict[str, Any]:
    """What a prediction says, by the fields of an Answer."""
    if "value" in one:
        return {"label": "", "probabilities": {}, "value": float(one["value"])}
    if "mask" in one:
        mask = base64.b64decode(one["mask"], validate=True)
        told = {"label": "", "probabilities": {}, "mask": mask, "shares": one["shares"]}
        return told | {"mean_probability": float(one["probability"])}
    if "detections" in one:
        return {"label": "", "probabilities": {}, "objects": [dict(found) for found in one["detections"]]}
    return {"label": str(one["label"]), "probabilities": one["probabilities"]}


def curl_line(target: Target, url: str, file: Path, *, content_type: str = JSON) -> str:
    """The same request for a shell: it works as printed. Keys of AWS are left to the environment's variables."""
    parts = ["curl"]
    if target.ca_file:
        parts += ["--cacert", shlex.quote(_shown(target.ca_file))]
    parts += ["--aws-sigv4", shlex.quote(f"aws:amz:{target.region}:{SERVICE}")]
    if target.is_local:
        credentials = target.session.get_credentials()
        parts += ["--user", shlex.quote(f"{credentials.access_key}:{credentials.secret_key}")]
    else:
        parts += ["--user", '"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"']
        parts += ["-H", '"x-amz-security-token: $AWS_SESSION_TOKEN"']
    flag = "--data" if content_type == JSON else "--data-binary"
    parts += ["-H", f"'Content-Type: {content_type}'", flag, shlex.quote(f"@{_shown(file)}")]
    return " ".join([*parts, shlex.quote(url)])


def _shown(path: Path) -> str:
    """As short as it can be from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def refusal(project: str, status: int, content: bytes) -> Exception:
    try:
        document = json.loads(content)
        said = str(document.get("detail") or document.get("message") or document)
    except (ValueError, AttributeError):
        said = content.decode("utf-8", "replace")[:300]
    told = f"the endpoint answered {status}: {said}"
    if status in {404, 503}:
        return UserError(told, hint=f"what was pushed and trained: lehr runs {project}")
    if status in {400, 413, 415, 422}:
        return UserError(told, hint=f"a request that works: lehr predict {project} --row 0 --json")
    if status == 429:
        hint = f"asked again for {PATIENCE_S:.0f} s; the limits are EndpointRateLimit and EndpointBurstLimit"
        return CloudError(told, f"{hint} (docs/endpoint.md)")
    if status == 403:
        return CloudError(told, "the credentials in use may lack execute-api:Invoke")
    return CloudError(told, "see the log of the function predict")

"""A batch prediction from here: rows go up, the endpoint is asked until all are predicted, the result comes down."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSRequest
from rich.status import Status

from lehr.errors import UserError
from lehr.layout import checked_name
from lehr_cli.endpoint import connection, refusal, send_signed
from lehr_cli.failures import CloudError, RunFailedError
from lehr_cli.invocation import Invocation
from lehr_cli.output import duration
from lehr_cli.patience import send_patiently
from lehr_cli.stack import Stack
from lehr_cli.target import STATE_DIR

S3_SCHEME = "s3://"
# S3 takes no more by one PUT.
MAX_UPLOAD_BYTES = 5 << 30
_SHOWN_REFUSALS = 5
_JSON_LINES = ".jsonl"


def predict_batch(invocation: Invocation, project: str, rows: str, to: Path | None) -> None:
    """Start a batch of a file or of an S3 URI, wait for its end, and download the result.

    Raises UserError for a file that cannot be read or an input that is refused, RunFailedError for a failed batch.
    """
    stack = invocation.stack
    url = f"{stack.endpoint_url}/predict/batch/{checked_name(project)}"
    http = connection(stack.target)
    began = time.monotonic()
    is_there = rows.startswith(S3_SCHEME)
    asked = {"input": rows} if is_there else {"batch": _upload(stack, project, url, Path(rows), http)}
    started = _ask(stack, project, "POST", url, asked, http)
    batch = str(started["batch"])
    invocation.aftermath = f"batch {batch} goes on; the same command finds it again"
    invocation.out.say(f"batch {batch}: {started['rows']} rows in {started['units']} units")
    invocation.out.emit({"event": "batch_started", **started})
    ended = _wait(invocation, project, f"{url}/{batch}", http)
    invocation.out.emit({"event": "batch_ended", **ended})
    for refused in ended["refused"][:_SHOWN_REFUSALS]:
        invocation.out.say(f"refused: {refused['reason']}", "yellow")
    if ended["status"] != "done":
        raise RunFailedError(f"batch {batch} failed: {ended['reason']}", "the same command starts it again")
    file = to or Path(STATE_DIR) / "batches" / f"{project}-{batch}{_JSON_LINES}"
    _download(ended["result_urls"], file, http)
    seconds = time.monotonic() - began
    told = f"{ended['rows_done']} rows predicted by model {ended['model_version']} in {duration(seconds)}"
    invocation.out.say(f"{told}, {ended['refused_units']} units refused: {file}", "green")
    invocation.out.emit({"event": "batch_downloaded", "file": str(file), "seconds": round(seconds, 3)})


def _upload(stack: Stack, project: str, url: str, file: Path, http: Any) -> str:
    """The id of the upload that a batch is started with."""
    try:
        size = file.stat().st_size
        if size > MAX_UPLOAD_BYTES:
            raise UserError(
                f"has {size} bytes, more than one upload takes",
                place=str(file),
                hint=f"put it under s3://{stack.data.bucket}/batches/{project}/ and give that",
            )
        body = file.read_bytes()
    except OSError as fault:
        raise UserError(f"cannot be read: {fault.strerror}", place=str(file)) from fault
    offered = _ask(stack, project, "POST", url, {}, http)
    _send("PUT", str(offered["upload"]), body, http)
    return str(offered["batch"])


def _wait(invocation: Invocation, project: str, url: str, http: Any) -> Mapping[str, Any]:
    """The batch as it is when it has ended."""
    with invocation.out.waiting("predicting") as spinner:
        while True:
            found = _ask(invocation.stack, project, "GET", url, None, http)
            if found["status"] != "running":
                return found
            told = f"{found['units_done']} of {found['units']} units, {found['rows_done']} rows"
            if isinstance(spinner, Status):
                spinner.update(told)
            invocation.out.emit({"event": "batch_progress", **found})
            time.sleep(invocation.target.poll_s)


def _download(urls: list[str], file: Path, http: Any) -> None:
    """All files of the result, one behind the other."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as target:
        for url in urls:
            target.write(_send("GET", url, b"", http))


def _ask(stack: Stack, project: str, method: str, url: str, document: Any, http: Any) -> dict[str, Any]:
    body = b"" if document is None else json.dumps(document).encode()
    response = send_patiently(lambda: send_signed(stack.target, method, url, body, http))
    if response.status_code == 422:
        raise UserError(json.loads(response.content)["detail"], hint="what a batch takes is in docs/batch.md")
    if response.status_code not in {200, 202}:
        raise refusal(project, response.status_code, response.content)
    try:
        answer: dict[str, Any] = json.loads(response.content)
        str(answer["batch"])
    except (ValueError, KeyError, TypeError) as fault:
        raise CloudError(f"the endpoint answered {response.content[:200]!r}, which is no batch") from fault
    return answer


def _send(method: str, url: str, body: bytes, http: Any) -> bytes:
    """To an address that was signed by the stack."""
    response = http.send(AWSRequest(method, url, {}, body).prepare())
    if response.status_code != 200:
        said = response.content.decode("utf-8", "replace")[:300]
        raise CloudError(f"S3 answered {response.status_code} to {method}: {said}")
    return bytes(response.content)

"""Scenarios between a decision and the champion, with packages that nobody has to train."""

from __future__ import annotations

import json
import re
import ssl
import urllib.request
import uuid
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError

from lehr.aws.kms import KmsSigner
from lehr.aws.s3 import S3ObjectStore
from lehr.clock import now
from tests.integration.shield.guarded_cloud import STACK, GuardedCloud, eventually
from tests.signing import sign_package
from tests.small_packages import publish_small_package


def rollback(cloud: GuardedCloud, project: str) -> dict[str, Any]:
    """Two champions, one after the other; the first serves again, and a version that is not there never did."""
    versions = [_promote(cloud, project, number) for number in range(2)]
    unknown = cloud.place.lehr("rollback", project, "ffffffffffffffff")
    back = cloud.place.lehr("rollback", project, "--reason", "tried")
    absent = {"project": project, "run": "run-9", "version": "ffffffffffffffff", "generation": 9}
    refused = cloud.call("PromoteModel", absent)[1].get("errorType")
    seen: dict[str, Any] = {"unknown": unknown.code, "back": back.code, "absent": refused}
    if back.code == 0:
        told = back.only("rollback")
        seen |= {"champion": versions.index(told["champion"]), "untold": told["untold"] != ""}
    return seen


def rollout(cloud: GuardedCloud, project: str) -> dict[str, Any]:
    """A canary begins beside a champion, is watched, and is withdrawn."""
    _promote(cloud, project, 0)
    version = _publish(cloud, project, 1)
    rollout = {"strategy": "canary", "share_percent": 50.0, "bake_minutes": 30}
    request = {"project": project, "run": "run-1", "version": version, "rollout": rollout}
    _, began = cloud.call("PromoteModel", request | {"generation": 1})
    _, watched = cloud.call("WatchCanary", request | {"generation": 2, "began_at": now()})
    _, ended = cloud.call("PromoteModel", request | {"generation": 2, "step": "withdraw"})
    return {
        "bakes": began.get("is_baking", began.get("errorType")),
        "watched": watched.get("verdict", watched.get("errorType")),
        "withdrawn": ended.get("is_baking") is False,
    }


def approve_by_link(cloud: GuardedCloud, project: str, run: Future[Any]) -> dict[str, Any]:
    """Approve the latest run of a project with the link of its notification; looking does nothing."""
    inbox = _Inbox(cloud)
    link = eventually(lambda: run.done() or inbox.link_of(project), timeout_s=45)
    if not isinstance(link, str):
        _stop(cloud, project, run)
        return {"asked": False}
    looked = [_visit(cloud, link), _visit(cloud, link)]
    approved = _visit(cloud, link, b"verdict=approve&name=Ada")
    again = cloud.place.lehr("reject", project, "--reason", "late").code
    if approved != HTTPStatus.OK:
        _stop(cloud, project, run)
    gone, untold = _visit(cloud, link), _was_untold(cloud, project)
    return {"looked": looked, "approved": approved, "again": again, "gone": gone, "untold": untold}


def _was_untold(cloud: GuardedCloud, project: str) -> bool:
    """Whether the function says in its log that somebody was not told: a run waits all the same."""
    logs = cloud.place.client("logs")
    group = f"/aws/lambda/{STACK}-await-approval"
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    lines = [event["message"] for page in pages for event in page["events"]]
    return any("nobody could be told" in line and project in line for line in lines)


def _stop(cloud: GuardedCloud, project: str, run: Future[Any]) -> None:
    """A run that nobody will answer would wait for days."""
    if not run.done():
        cloud.place.lehr("stop", project)


class _Inbox:
    """What the topic of the stack tells from now on."""

    def __init__(self, cloud: GuardedCloud) -> None:
        self._sqs, sns = cloud.place.client("sqs"), cloud.place.client("sns")
        self._url = self._sqs.create_queue(QueueName=f"inbox-{uuid.uuid4().hex}")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]
        topic = cloud.place.outputs()["NotificationTopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])

    def link_of(self, project: str) -> str | None:
        for message in self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            found = re.search(rf"https://\S+/approvals/{project}/\S+", json.loads(message["Body"])["Message"])
            if found:
                return found[0]
        return None


def _visit(cloud: GuardedCloud, link: str, form: bytes | None = None) -> int:
    context = ssl.create_default_context(cafile=cloud.place.info()["ca_file"])
    try:
        with urllib.request.urlopen(link, data=form, context=context, timeout=60) as answer:
            return int(answer.status)
    except HTTPError as fault:
        with fault:
            return int(fault.code)


def _promote(cloud: GuardedCloud, project: str, generation: int) -> str:
    version = _publish(cloud, project, generation)
    request = {"project": project, "run": f"run-{generation}", "version": version, "generation": generation}
    assert cloud.call("PromoteModel", request)[1].get("champion") == version
    return version


def _publish(cloud: GuardedCloud, project: str, number: int) -> str:
    artifacts = S3ObjectStore(cloud.place.outputs()["ArtifactBucket"], cloud.place.client("s3"))
    version = publish_small_package(artifacts, project, f"{project}-{number}".encode())
    key = cloud.place.outputs()["SigningKeyArn"]
    sign_package(artifacts, project, version, KmsSigner(key, cloud.place.client("kms")))
    return version

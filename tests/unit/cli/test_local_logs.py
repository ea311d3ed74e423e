"""Logs of functions and jobs as one stream: by name, in the order of time, each line once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from lehr_cli.local_logs import LogTail

TRAINING, BATCH = "/aws/sagemaker/TrainingJobs", "/aws/batch/job"


class Pages:
    def __init__(self, answer: Any) -> None:
        self.paginate = answer


class Logs:
    """CloudWatch Logs whose groups hold (stream, time, message)."""

    def __init__(self, groups: dict[str, list[tuple[str, int, str]]]) -> None:
        self.groups = groups
        self.asked: list[tuple[str, int]] = []

    def get_paginator(self, operation: str) -> Pages:
        return Pages(getattr(self, operation))

    def describe_log_groups(self, *, logGroupNamePrefix: str) -> Iterator[dict[str, Any]]:
        names = [name for name in self.groups if name.startswith(logGroupNamePrefix)]
        yield {"logGroups": [{"logGroupName": name} for name in names]}

    def filter_log_events(self, *, logGroupName: str, startTime: int) -> Iterator[dict[str, Any]]:
        self.asked.append((logGroupName, startTime))
        if logGroupName not in self.groups:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")
        for number, (stream, moment, message) in enumerate(self.groups[logGroupName]):
            if moment >= startTime:
                event = {"eventId": str(number), "timestamp": moment, "message": message + "\n"}
                yield {"events": [{**event, "logStreamName": stream}]}


class EnoughError(Exception):
    """Ends a follower, which has no end of its own."""


def logs() -> Logs:
    return Logs(
        {
            "/aws/lambda/lehr-predict": [("s", 1_000_000, "p1"), ("s", 1_000_300, "p2")],
            "/aws/lambda/lehr-judge-model": [("s", 1_000_100, "j1")],
            TRAINING: [("run-7-0/algo-1-1", 1_000_200, "t1"), ("other/algo-1-1", 1_000_250, "o1")],
            BATCH: [("trainer/default/abc", 1_000_150, "b1")],
        }
    )


def read(client: Logs, name: str, since_ms: int = 0) -> list[tuple[str, str]]:
    tail = LogTail(client, stack="lehr", name=name, since_ms=since_ms)
    return [(line.source, line.message) for line in tail.lines(sleep=None, pause_s=0)]


def follow(client: Logs, name: str, meanwhile: Callable[[int], None], rounds: int) -> list[str]:
    """The messages that a follower shows; `meanwhile` is called between its looks with their number."""
    looks = 0

    def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        meanwhile(looks)
        if looks > rounds:
            raise EnoughError

    seen = []
    try:
        for line in LogTail(client, stack="lehr", name=name, since_ms=0).lines(sleep=sleep, pause_s=0):
            seen.append(line.message)
    except EnoughError:
        pass
    return seen


def test_without_a_name_all_lines_come_in_the_order_of_time() -> None:
    assert read(logs(), "") == [
        ("predict", "p1"),
        ("judge-model", "j1"),
        ("trainer", "b1"),
        ("run-7-0", "t1"),
        ("other", "o1"),
        ("predict", "p2"),
    ]


def test_a_name_is_the_beginning_of_a_function_a_job_or_a_group() -> None:
    assert read(logs(), "pred") == [("predict", "p1"), ("predict", "p2")]
    assert read(logs(), "run-7") == [("run-7-0", "t1")]
    assert read(logs(), "trainer") == [("trainer", "b1")]
    assert read(logs(), "/aws/lambda/lehr-judge") == [("judge-model", "j1")]
    assert read(logs(), "nobody") == []


def test_older_lines_are_not_asked_for() -> None:
    assert read(logs(), "predict", since_ms=1_000_200) == [("predict", "p2")]


def test_a_group_that_does_not_exist_yet_is_empty() -> None:
    assert read(Logs({"/aws/lambda/lehr-predict": [("s", 5, "p")]}), "") == [("predict", "p")]


def test_following_shows_late_lines_and_none_twice() -> None:
    client = logs()

    def meanwhile(look: int) -> None:
        if look == 1:
            # It was written before the last line that was shown, and taken later.
            client.groups["/aws/lambda/lehr-predict"].append(("s", 1_000_250, "late"))

    assert follow(client, "predict", meanwhile, rounds=3) == ["p1", "p2", "late"]
    # It does not read everything again each time.
    assert client.asked[-3] == ("/aws/lambda/lehr-predict", 1_000_300 - 10_000)


def test_a_function_that_appears_while_following_is_found() -> None:
    client = Logs({})

    def meanwhile(_: int) -> None:
        client.groups["/aws/lambda/lehr-new"] = [("s", 7, "n")]

    assert follow(client, "", meanwhile, rounds=30) == ["n"]

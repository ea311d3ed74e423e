"""Reading the endpoint's log: every line within the window once, and of too many an even sample."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lehr.aws.captured_lines import MAX_LINES, MAX_PAGES_PER_SLICE, SLICES, CloudWatchCapturedLines

HOUR_MS = 3_600_000


class Logs:
    """A log group of (time, message), with pages of `page` events, each followed by an empty one; filters nothing."""

    def __init__(self, events: list[tuple[int, str]], page: int = 100) -> None:
        self.events, self.page, self.calls = events, page, 0

    def filter_log_events(
        self, *, logGroupName: str, startTime: int, endTime: int, filterPattern: str, nextToken: str = "0"
    ) -> dict[str, Any]:
        self.calls += 1
        assert filterPattern == '{ ($.kind = "prediction") && ($.project = "fares") }'
        if logGroupName == "gone":
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")
        found = [message for time, message in self.events if startTime <= time <= endTime]
        number = int(nextToken)
        begin = number // 2 * self.page
        events = [] if number % 2 else [{"message": one} for one in found[begin : begin + self.page]]
        is_last = begin + self.page >= len(found) and number % 2 == 1
        return {"events": events} | ({} if is_last else {"nextToken": str(number + 1)})


def line(number: int, **more: str) -> str:
    return (
        json.dumps({"kind": "prediction", "project": "fares", "n": number} | more, separators=(",", ":"))
        + "\n"
    )


def numbers(lines: list[bytes]) -> list[int]:
    return [json.loads(one)["n"] for one in lines]


def test_every_line_of_the_window_is_read_once_whatever_the_pages() -> None:
    events = [(time * HOUR_MS // 10, line(time)) for time in range(-5, 250)]
    read = CloudWatchCapturedLines(Logs(events, page=3), "log").read("prediction", "fares", 0, 24 * HOUR_MS)
    assert numbers(read.lines) == list(range(240))
    assert not read.is_sampled


def test_a_window_shorter_than_its_slices_is_read_whole() -> None:
    events = [(time, line(time)) for time in range(7)]
    assert numbers(CloudWatchCapturedLines(Logs(events), "log").read("prediction", "fares", 0, 5).lines) == [
        *range(5)
    ]


def test_what_is_about_others_is_left_out_where_the_pattern_was_not_understood() -> None:
    events = [
        (1, line(1)),
        (2, line(2, kind="feedback")),
        (3, line(3, project="mnist")),
        (4, 'START RequestId: "kind":"prediction"'),
        (5, '["kind":"prediction"'),
        (6, json.dumps(['"kind":"prediction"'])),
    ]
    read = CloudWatchCapturedLines(Logs(events), "log").read("prediction", "fares", 0, 100)
    assert numbers(read.lines) == [1]


def test_of_more_lines_than_are_read_an_even_sample_is() -> None:
    per_slice = MAX_LINES // SLICES
    events = [
        (hour * HOUR_MS + number, line(hour)) for hour in range(24) for number in range(per_slice + 100)
    ]
    read = CloudWatchCapturedLines(Logs(events, page=50), "log").read("prediction", "fares", 0, 24 * HOUR_MS)
    assert read.is_sampled
    assert len(read.lines) == MAX_LINES
    assert {numbers(read.lines).count(hour) for hour in range(24)} == {per_slice}


def test_pages_without_end_are_not_followed() -> None:
    class Empty(Logs):
        def filter_log_events(self, **_: Any) -> dict[str, Any]:
            self.calls += 1
            return {"events": [], "nextToken": "on"}

    logs = Empty([])
    read = CloudWatchCapturedLines(logs, "log").read("prediction", "fares", 0, 24 * HOUR_MS)
    assert (read.lines, read.is_sampled, logs.calls) == ([], True, SLICES * MAX_PAGES_PER_SLICE)


def test_a_log_that_is_not_there_has_no_lines_and_other_faults_are_faults() -> None:
    assert CloudWatchCapturedLines(Logs([]), "gone").read("prediction", "fares", 0, 100).lines == []

    class Refusing:
        def filter_log_events(self, **_: Any) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "FilterLogEvents")

    with pytest.raises(ClientError):
        CloudWatchCapturedLines(Refusing(), "log").read("prediction", "fares", 0, 100)

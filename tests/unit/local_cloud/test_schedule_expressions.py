"""When schedules fire: rates, AWS's crons of six fields, single moments, summer time."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr_local.schedule_expressions import parse

UTC = datetime.UTC


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(expression: str, after: str, count: int = 3, zone: str = "UTC") -> list[str]:
    found: list[str] = []
    moment: datetime.datetime | None = at(after)
    while moment is not None and len(found) < count:
        moment = parse(expression, zone).next_after(moment)
        if moment is not None:
            found.append(moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M"))
    return found


# 2026-01-01 is a Thursday. The expressions are those of AWS's user guide, and the corners of its wildcards.
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("rate(5 minutes)", ["2026-01-01 00:05", "2026-01-01 00:10", "2026-01-01 00:15"]),
        ("rate(1 hour)", ["2026-01-01 01:00", "2026-01-01 02:00", "2026-01-01 03:00"]),
        ("rate(7 days)", ["2026-01-08 00:00", "2026-01-15 00:00", "2026-01-22 00:00"]),
        ("cron(0 10 * * ? *)", ["2026-01-01 10:00", "2026-01-02 10:00", "2026-01-03 10:00"]),
        ("cron(15 12 * * ? *)", ["2026-01-01 12:15", "2026-01-02 12:15", "2026-01-03 12:15"]),
        ("cron(0 18 ? * MON-FRI *)", ["2026-01-01 18:00", "2026-01-02 18:00", "2026-01-05 18:00"]),
        ("cron(0 8 1 * ? *)", ["2026-01-01 08:00", "2026-02-01 08:00", "2026-03-01 08:00"]),
        ("cron(0/15 * * * ? *)", ["2026-01-01 00:15", "2026-01-01 00:30", "2026-01-01 00:45"]),
        ("cron(0/10 * ? * MON-FRI *)", ["2026-01-01 00:10", "2026-01-01 00:20", "2026-01-01 00:30"]),
        ("cron(0/5 8-9 ? * 2 *)", ["2026-01-05 08:00", "2026-01-05 08:05", "2026-01-05 08:10"]),
        ("cron(0 9 ? * 2#1 *)", ["2026-01-05 09:00", "2026-02-02 09:00", "2026-03-02 09:00"]),
        ("cron(0 9 ? * MON#5 *)", ["2026-03-30 09:00", "2026-06-29 09:00", "2026-08-31 09:00"]),
        ("cron(0 0 L * ? *)", ["2026-01-31 00:00", "2026-02-28 00:00", "2026-03-31 00:00"]),
        ("cron(0 0 L-2 * ? *)", ["2026-01-29 00:00", "2026-02-26 00:00", "2026-03-29 00:00"]),
        ("cron(0 0 3W * ? *)", ["2026-01-02 00:00", "2026-02-03 00:00", "2026-03-03 00:00"]),
        ("cron(0 0 1W * ? *)", ["2026-02-02 00:00", "2026-03-02 00:00", "2026-04-01 00:00"]),
        ("cron(0 0 31W * ? *)", ["2026-01-30 00:00", "2026-03-31 00:00", "2026-05-29 00:00"]),
        ("cron(0 0 LW * ? *)", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-31 00:00"]),
        ("cron(0 0 ? * 6L *)", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-27 00:00"]),
        ("cron(0 0 ? * L *)", ["2026-01-03 00:00", "2026-01-10 00:00", "2026-01-17 00:00"]),
        ("cron(0 0 ? * FRI-SUN *)", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00"]),
        ("cron(0 0 ? * 1,7 *)", ["2026-01-03 00:00", "2026-01-04 00:00", "2026-01-10 00:00"]),
        ("cron(30 6 1,15 JAN,JUL ? 2026)", ["2026-01-01 06:30", "2026-01-15 06:30", "2026-07-01 06:30"]),
        ("cron(0 0 29 2 ? *)", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("cron(0 12 1 1 ? 2026/2)", ["2026-01-01 12:00", "2028-01-01 12:00", "2030-01-01 12:00"]),
        ("cron(0 0 30 2 ? *)", []),
        ("cron(0 0 1 1 ? 2025)", []),
        ("at(2026-03-01T04:05:06)", ["2026-03-01 04:05"]),
        ("at(2025-12-31T23:59:59)", []),
    ],
)
def test_the_next_times_are_those_of_aws(expression: str, expected: list[str]) -> None:
    assert times(expression, "2026-01-01T00:00:00") == expected


def test_a_time_of_day_is_one_of_the_zone_also_when_it_changes() -> None:
    # Berlin goes over to summer time on 2026-03-29 and back on 2026-10-25.
    spring = times("cron(0 8 * * ? *)", "2026-03-27T12:00:00", zone="Europe/Berlin")
    assert spring == ["2026-03-28 07:00", "2026-03-29 06:00", "2026-03-30 06:00"]
    autumn = times("cron(0 8 * * ? *)", "2026-10-23T12:00:00", zone="Europe/Berlin")
    assert autumn == ["2026-10-24 06:00", "2026-10-25 07:00", "2026-10-26 07:00"]


def test_a_time_that_summer_time_leaves_out_is_left_out() -> None:
    found = times("cron(30 2 * * ? *)", "2026-03-27T12:00:00", zone="Europe/Berlin")
    assert found == ["2026-03-28 01:30", "2026-03-30 00:30", "2026-03-31 00:30"]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "0 10 * * ? *",
        "rate(0 minutes)",
        "rate(1 minutes)",
        "rate(5 minute)",
        "rate(5 weeks)",
        "rate(-5 minutes)",
        "cron(0 10 * * ?)",
        "cron(0 10 * * * *)",
        "cron(0 10 ? * ? *)",
        "cron(60 10 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 10 32 * ? *)",
        "cron(0 10 * 13 ? *)",
        "cron(0 10 ? * 0 *)",
        "cron(0 10 ? * MON#6 *)",
        "cron(0 10 * * ? 1969)",
        "cron(0 10 ? * MON-FOO *)",
        "cron(*/0 10 * * ? *)",
        "at(2026-03-01)",
        "at(2026-13-01T00:00:00)",
    ],
)
def test_what_aws_refuses_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse(expression)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        parse("rate(1 hour)", "Europe/Atlantis")


@given(
    st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2100, 1, 1)),
    st.sampled_from(
        ["cron(0/7 3-9/2 ? * 2-6 *)", "cron(5 4 L * ? *)", "cron(0 0 15W 1/3 ? *)", "cron(1 1 ? * 3#2 *)"]
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
)
def test_the_next_time_is_later_and_nothing_lies_between(
    moment: datetime.datetime, expression: str, zone: str
) -> None:
    now = moment.replace(tzinfo=UTC)
    cron = parse(expression, zone)
    found = cron.next_after(now)
    assert found is not None
    assert found > now
    assert found.astimezone(ZoneInfo(zone)).second == 0
    # Asked from just before it, the answer is the same time.
    assert cron.next_after(found - datetime.timedelta(seconds=1)) == found
    between = cron.next_after(now + (found - now) / 2)
    assert between == found

"""When a schedule fires next: `rate(…)`, `cron(…)` with AWS's six fields, `at(…)`. Pure functions of time.

docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html and
docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html. Other crons have five fields, count the days of the
week from 0 and join the two day fields by "or"; here one of the two has to be `?`.
"""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol
from zoneinfo import ZoneInfo

_UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_LAST_YEAR = 2199

# Whether a day matches; the day of the week is 1 for Sunday, as AWS counts.
DayTest = Callable[[datetime.date], bool]


class Expression(Protocol):
    def next_after(self, moment: datetime.datetime) -> datetime.datetime | None:
        """The first time after `moment` (with a time zone), or None if there is none."""


@dataclass(frozen=True)
class Rate:
    seconds: int

    def next_after(self, moment: datetime.datetime) -> datetime.datetime:
        return moment + datetime.timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class At:
    moment: datetime.datetime

    def next_after(self, moment: datetime.datetime) -> datetime.datetime | None:
        return self.moment if self.moment > moment else None


@dataclass(frozen=True)
class Cron:
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: frozenset[int]
    years: frozenset[int]
    is_day: DayTest
    zone: datetime.tzinfo

    def next_after(self, moment: datetime.datetime) -> datetime.datetime | None:
        here = moment.astimezone(self.zone)
        for day in self._days(here.date()):
            for hour in self.hours:
                for minute in self.minutes:
                    found = datetime.datetime.combine(day, datetime.time(hour, minute), self.zone)
                    if found > here and _exists(found):
                        return found
        return None

    def _days(self, first: datetime.date) -> Iterator[datetime.date]:
        day = first
        while day.year <= _LAST_YEAR:
            if day.year not in self.years:
                day = datetime.date(day.year + 1, 1, 1)
            elif day.month not in self.months:
                day = (day.replace(day=28) + datetime.timedelta(days=4)).replace(day=1)
            else:
                if self.is_day(day):
                    yield day
                day += datetime.timedelta(days=1)


def _exists(moment: datetime.datetime) -> bool:
    """False in the hour that a change to summer time leaves out."""
    back = moment.astimezone(datetime.UTC).astimezone(moment.tzinfo)
    return back.replace(tzinfo=None) == moment.replace(tzinfo=None)


def parse(expression: str, timezone: str = "UTC") -> Expression:
    """Read a schedule expression. Raises ValueError, in a sentence, for one that AWS would refuse."""
    match = re.fullmatch(r"(rate|cron|at)\((.*)\)", expression.strip())
    if match is None:
        raise ValueError(f"'{expression}' is no schedule expression: rate(…), cron(…) or at(…).")
    kind, inside = match.groups()
    try:
        zone: datetime.tzinfo = datetime.UTC if timezone == "UTC" else ZoneInfo(timezone)
    except (KeyError, OSError) as error:
        raise ValueError(f"There is no time zone '{timezone}'.") from error
    try:
        if kind == "rate":
            return _rate(inside)
        if kind == "at":
            return At(datetime.datetime.strptime(inside, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone))
        return _cron(inside.upper().split(), zone)
    except ValueError as error:
        raise ValueError(f"'{expression}' is not valid: {error}") from error


def _rate(text: str) -> Rate:
    match = re.fullmatch(r"(\d+) (minute|hour|day)(s?)", text)
    if match is None or int(match[1]) < 1:
        raise ValueError("a rate is a number from 1 up and minute(s), hour(s) or day(s)")
    count = int(match[1])
    if (count == 1) == bool(match[3]):
        raise ValueError(f"{count} takes the {'singular' if count == 1 else 'plural'}")
    return Rate(count * _UNITS_S[match[2]])


def _cron(fields: list[str], zone: datetime.tzinfo) -> Cron:
    if len(fields) != 6:
        raise ValueError(f"a cron has six fields, not {len(fields)}")
    minutes, hours, day_of_month, months, day_of_week, years = fields
    if (day_of_month == "?") == (day_of_week == "?"):
        raise ValueError("of the day of the month and the day of the week one, and only one, is ?")
    return Cron(
        minutes=tuple(sorted(_numbers(minutes, 0, 59))),
        hours=tuple(sorted(_numbers(hours, 0, 23))),
        months=frozenset(_numbers(months, 1, 12, _MONTHS)),
        years=frozenset(_numbers(years, 1970, _LAST_YEAR)),
        is_day=_any(_day_of_month, day_of_month) if day_of_week == "?" else _any(_day_of_week, day_of_week),
        zone=zone,
    )


def _numbers(field: str, first: int, last: int, names: dict[str, int] | None = None) -> set[int]:
    """All values of a field: `*`, `a`, `a-b`, each with `/step`, joined by commas."""
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step_text = part.partition("/")
        begin_text, dash, end_text = span.partition("-")
        if span == "*":
            begin, end = first, last
        else:
            begin = _number(begin_text, first, last, names)
            end = _number(end_text, first, last, names) if dash else (last if slash else begin)
        step = _number(step_text, 1, last, None) if slash else 1
        if begin <= end:
            found.update(range(begin, end + 1, step))
        else:
            # FRI-MON goes over the end of the week.
            wrapped = [*range(begin, last + 1), *range(first, end + 1)]
            found.update(wrapped[::step])
    return found


def _number(text: str, first: int, last: int, names: dict[str, int] | None) -> int:
    number = (names or {}).get(text)
    if number is None:
        if not text.isdecimal():
            raise ValueError(f"'{text}' is no value of its field")
        number = int(text)
    if not first <= number <= last:
        raise ValueError(f"{number} is not between {first} and {last}")
    return number


def _any(make: Callable[[str], DayTest], field: str) -> DayTest:
    tests = [make(part) for part in field.split(",")]
    return lambda day: any(test(day) for test in tests)


def _day_of_month(part: str) -> DayTest:
    if match := re.fullmatch(r"L(?:-(\d+))?", part):
        before_last = int(match[1] or 0)
        return lambda day: day.day == _length(day) - before_last
    if match := re.fullmatch(r"(L|\d+)W", part):
        wanted = 0 if match[1] == "L" else _number(match[1], 1, 31, None)
        return lambda day: day.day == _nearest_weekday(day, wanted)
    values = _numbers(part, 1, 31)
    return lambda day: day.day in values


def _day_of_week(part: str) -> DayTest:
    if part == "L":
        return lambda day: _weekday(day) == 7
    if match := re.fullmatch(r"(\w+)L", part):
        last_one = _number(match[1], 1, 7, _WEEKDAYS)
        return lambda day: _weekday(day) == last_one and day.day > _length(day) - 7
    if match := re.fullmatch(r"(\w+)#(\d)", part):
        one, nth = _number(match[1], 1, 7, _WEEKDAYS), _number(match[2], 1, 5, None)
        return lambda day: _weekday(day) == one and (day.day - 1) // 7 + 1 == nth
    values = _numbers(part, 1, 7, _WEEKDAYS)
    return lambda day: _weekday(day) in values


def _length(day: datetime.date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _weekday(day: datetime.date) -> int:
    return day.isoweekday() % 7 + 1


def _nearest_weekday(day: datetime.date, wanted: int) -> int:
    """The day of this month from Monday to Friday that is nearest to `wanted`; 0 stands for the last one."""
    length = _length(day)
    if wanted > length:
        return 0
    target = day.replace(day=wanted or length)
    if target.isoweekday() == 6:
        return target.day - 1 if target.day > 1 else 3
    if target.isoweekday() == 7:
        return target.day + 1 if target.day < length else length - 2
    return target.day

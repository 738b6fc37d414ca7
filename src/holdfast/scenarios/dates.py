"""The calendar of a world: today is a Thursday drawn by the seed; all other dates are relative to it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from functools import cache, lru_cache

from holdfast.core.errors import ProseError

#: Thursdays from which the seed draws: late spring, so that plans for the summer lie ahead.
_WEEKS = [start + timedelta(weeks=n) for start in (date(2025, 4, 24), date(2026, 4, 9)) for n in range(10)]
_FAR = 60
_STAMP = re.compile(r"(?:(\d{1,2}) )?([01]\d|2[0-3]):([0-5]\d)")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DATED = re.compile(rf"\b({'|'.join(_DAYS)}),? (?:the )?(\d{{1,2}} [A-Z][a-z]+)\b")
_TODAY_AT = re.compile(r"\btoday at (\d\d:\d\d)")


@lru_cache(maxsize=4096)
def draw_date(draw: str) -> date:
    """The Thursday that a draw, named by a text, brings."""
    return random.Random(draw).choice(_WEEKS)


@cache
def slots(day: date) -> Mapping[str, str]:
    """Dates as slots: `ago.3` is the day three days before, `in.4` the day four days ahead ("16 March")."""
    back = {f"ago.{n}": _said(day - timedelta(days=n)) for n in range(_FAR)}
    return back | {f"in.{n}": _said(day + timedelta(days=n)) for n in range(_FAR)}


def parse_when(stamp: str, day: date, where: str) -> datetime:
    """Parse an arrival time: "08:52" is today, "3 16:40" is three days earlier.

    Raises:
        ProseError: it is neither.
    """
    match = _STAMP.fullmatch(stamp)
    if match is None:
        raise ProseError(f"'{stamp}' is no time", where=where, remedy='write "08:52", or "3 16:40" for three days ago')
    return datetime.combine(day - timedelta(days=int(match[1] or 0)), time(int(match[2]), int(match[3])))


def hours(day: date, rng: random.Random) -> Iterator[datetime]:
    """Possible arrival times of ordinary mail: working hours of the last five working days, today until noon."""
    while True:
        ago = rng.choice((0, 1, 2, 3, 6))
        minute = rng.randrange(7 * 60 + 30, 12 * 60 if ago == 0 else 18 * 60)
        yield datetime.combine(day - timedelta(days=ago), time(minute // 60, minute % 60))


def mail_date(when: datetime) -> str:
    """Format a time as mails show it: "Thu 12 Mar 2026 08:52"."""
    return when.strftime("%a %d %b %Y %H:%M")


def parse_mail_date(text: str) -> datetime:
    """Parse what `mail_date` formatted."""
    return datetime.strptime(text, "%a %d %b %Y %H:%M")


def contradictions(text: str, now: datetime) -> Iterator[str]:
    """Find impossible dates in a text: a wrong weekday, or a plan for an hour that has passed."""
    for weekday, said in _DATED.findall(text):
        days = [now.date() + timedelta(days=n) for n in range(-_FAR, _FAR)]
        if not any(_said(day) == said and _DAYS[day.weekday()] == weekday for day in days):
            yield f"'{weekday}, {said}' is no such day"
    for hour in _TODAY_AT.findall(text):
        if hour <= now.strftime("%H:%M"):
            yield f"'today at {hour}' has passed"


def _said(day: date) -> str:
    return f"{day.day} {day:%B}"

"""Send windows: by whose clock, on which weekdays and between which hours a message may leave.

A window is read on the wall: a message may leave while a clock in the zone shows a time inside the hours of its day.
So where clocks go forward over an opening the window opens when they have moved, and an hour that comes twice counts
both times.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from domain.model import Findings, Written, refuse

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_LONG = 24 * 60
_WEEK_LONG = 7 * _DAY_LONG
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")
_DAYS = re.compile(r"^(?:{0})(?:-(?:{0}))?$".format("|".join(WEEKDAYS)))
_LOOK_AHEAD = timedelta(days=7)

Span = tuple[int, int]
"""Minutes since midnight: from the first on, up to but without the second."""


def known_zone(name: str) -> bool:
    """Whether the time zone data base knows this name (``Europe/Amsterdam``)."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _checked_zone(name: str) -> str:
    if not known_zone(name):
        raise ValueError("not a time zone, as in Europe/Amsterdam")
    return name


def _read_hours(text: str) -> list[Span]:
    """``09:00-12:30, 14:00-18:00`` in minutes; an end before its begin lies on the next day."""
    spans = []
    for part in text.split(","):
        found = _HOURS.fullmatch(part.strip())
        if found is None:
            raise ValueError("not hours, as in 09:00-18:00 or 09:00-12:30, 14:00-18:00")
        first, minute, last, last_minute = found.groups()
        begin = int(first) * 60 + int(minute)
        end = _DAY_LONG if last is None else int(last) * 60 + int(last_minute)
        if begin == end:
            raise ValueError("begins and ends at the same time, so nothing could leave: 00:00-24:00 is the whole day")
        spans.append((begin, end if end > begin else end + _DAY_LONG))
    return spans


def _checked_hours(text: str) -> str:
    _read_hours(text)
    return text


def _checked_days(name: object) -> object:
    """Before the pattern refuses it, which is there for editors and says nothing to people."""
    if isinstance(name, str) and _DAYS.fullmatch(name) is None:
        raise ValueError(f"not a weekday or a range of them, as in sat or mon-fri: {', '.join(WEEKDAYS)}")
    return name


def _days_of(text: str) -> list[int]:
    """``mon-fri``, ``sat`` or, over the end of the week, ``fri-mon``, as numbers of weekdays from 0."""
    first, _, last = text.partition("-")
    begin, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
    return [day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)]


ZoneName = Annotated[str, AfterValidator(_checked_zone)]
"""A time zone by its name in the IANA data base."""

Days = Annotated[str, StringConstraints(pattern=_DAYS.pattern), BeforeValidator(_checked_days)]
"""A weekday or a range of them: ``sat``, ``mon-fri``."""

Hours = Annotated[str, AfterValidator(_checked_hours)]
"""Hours of a day: ``09:00-18:00``, ``09:00-12:30, 14:00-18:00``, or over midnight ``20:00-02:00``."""


class SendWindow(Written):
    """When messages may leave. On days that are not named nothing leaves."""

    hours: Annotated[dict[Days, Hours], Field(min_length=1)]
    """By weekday. What runs over midnight belongs to the day on which it begins."""
    holidays: Annotated[tuple[date, ...], Field(max_length=366)] = ()
    """Dates on which nothing leaves, from midnight to midnight; hours that run over such a midnight are cut there."""
    zone: ZoneName | None = None
    """By whose clock the hours are; without it by the candidate's."""

    @model_validator(mode="after")
    def _names_each_day_once(self) -> "SendWindow":
        refuse(self._findings())
        return self

    def _findings(self) -> Findings:
        named: set[int] = set()
        for days in self.hours:
            twice = [WEEKDAYS[day] for day in _days_of(days) if day in named]
            if twice:
                yield ("hours", days), f"{', '.join(twice)}: named twice; write all hours of a day in one place"
            named.update(_days_of(days))

    def clock(self, candidate_zone: str) -> ZoneInfo:
        """The zone by which this window is read, for a candidate in ``candidate_zone``."""
        return ZoneInfo(self.zone or candidate_zone)


def is_open(window: SendWindow, zone: ZoneInfo, instant: datetime) -> bool:
    """Whether a message may leave at ``instant`` (aware), with the hours read in ``zone``."""
    return _Week.of(window).is_open(instant.astimezone(zone))


def opens_at(window: SendWindow, zone: ZoneInfo, instant: datetime) -> datetime:
    """The first instant from ``instant`` (aware) on at which a message may leave, in UTC."""
    week = _Week.of(window)
    if week.is_open(instant.astimezone(zone)):
        return instant.astimezone(UTC)
    look = instant
    while True:  # ends: holidays are counted, and after them every week has its hours
        for edge in _edges(week, zone, look):
            if week.is_open(edge.astimezone(zone)):
                return edge
        look += _LOOK_AHEAD


def closes_at(window: SendWindow, zone: ZoneInfo, instant: datetime) -> datetime | None:
    """The first instant from ``instant`` (aware) on at which no message may leave any more, in UTC.

    None where it stays open for a week.
    """
    week = _Week.of(window)
    if not week.is_open(instant.astimezone(zone)):
        return instant.astimezone(UTC)
    return next((edge for edge in _edges(week, zone, instant) if not week.is_open(edge.astimezone(zone))), None)


def longest_closed(window: SendWindow) -> timedelta:
    """How long at most no message may leave in a week without holidays, by the clock on the wall."""
    week = _Week.of(window)
    spans = sorted((day * _DAY_LONG + a, day * _DAY_LONG + b) for day in range(7) for a, b in week.spans[day])
    longest, end = 0, max(closing for _, closing in spans) - _WEEK_LONG
    for begin, closing in spans:
        longest, end = max(longest, begin - end), max(end, closing)
    return timedelta(minutes=longest)


def faults(window: SendWindow, expiry: timedelta) -> tuple[str, ...]:
    """What makes a plan with this window impossible to keep, in words, though each part of it can be read.

    ``expiry`` is how long a message may wait before it is no longer worth sending.
    """
    closed = longest_closed(window)
    if closed < expiry:
        return ()
    text = (
        f"the send window is closed for up to {_spoken(closed)}, a message is worth sending for {_spoken(expiry)}, "
        "so it may expire before it could leave: give it more time or the window more hours"
    )
    return (text,)


def _spoken(length: timedelta) -> str:
    hours, minutes = divmod(int(length.total_seconds()) // 60, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days}d" if days else "", f"{hours}h" if hours else "", f"{minutes}m" if minutes else ""]
    return "".join(parts) or "less than a minute"


@dataclass(frozen=True)
class _Week:
    """A window made ready to be looked at: per weekday its open spans, none of them over midnight."""

    spans: tuple[tuple[Span, ...], ...]
    holidays: frozenset[date]

    @classmethod
    def of(cls, window: SendWindow) -> "_Week":
        spans: list[list[Span]] = [[] for _ in range(7)]
        for days, hours in window.hours.items():
            for day in _days_of(days):
                for begin, end in _read_hours(hours):
                    spans[day].append((begin, min(end, _DAY_LONG)))
                    if end > _DAY_LONG:
                        spans[(day + 1) % 7].append((0, end - _DAY_LONG))
        return cls(tuple(map(tuple, spans)), frozenset(window.holidays))

    def is_open(self, local: datetime) -> bool:
        minute = local.hour * 60 + local.minute
        return local.date() not in self.holidays and any(a <= minute < b for a, b in self.spans[local.weekday()])


def _edges(week: _Week, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Every instant of the ``_LOOK_AHEAD`` after ``after`` at which the window may open or close, in order, in UTC."""
    end = after + _LOOK_AHEAD
    first, last = after.astimezone(zone).date(), end.astimezone(zone).date()
    edges = set(_clock_changes(zone, after))
    for n in range(-1, (last - first).days + 2):
        day = first + timedelta(days=n)
        for minute in {0, *(edge % _DAY_LONG for span in week.spans[day.weekday()] for edge in span)}:
            wall = datetime.combine(day, time(minute // 60, minute % 60), zone)
            edges |= {wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1)}
    return (edge for edge in sorted(edges) if after < edge <= end)


def _clock_changes(zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """The instants of the ``_LOOK_AHEAD`` after ``after`` at which the zone's clocks are moved."""
    start = after.astimezone(UTC).replace(microsecond=0)
    for n in range(_LOOK_AHEAD.days + 1):
        low, high = start + timedelta(days=n), start + timedelta(days=n + 1)
        if _offset(low, zone) == _offset(high, zone):
            continue
        while high - low > timedelta(seconds=1):
            middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
            low, high = (middle, high) if _offset(middle, zone) == _offset(low, zone) else (low, middle)
        yield high


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta | None:
    return instant.astimezone(zone).utcoffset()

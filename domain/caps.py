"""Caps: how many messages a tenant sends to one person and in all, by calendar days and weeks."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from domain.model import Written
from domain.windows import ZoneName

Cap = Annotated[int, Field(ge=1)]


class Caps(Written):
    """Most messages that one tenant sends; without a figure there is no cap."""

    candidate_per_day: Cap | None = None
    """To one person, from midnight to midnight where that person is."""
    candidate_per_week: Cap | None = None
    """To one person, from Monday to Sunday where that person is."""
    tenant_per_day: Cap | None = None
    """To everybody together, from midnight to midnight in ``zone``."""
    zone: ZoneName = "UTC"
    """By whose clock the tenant's own day begins and ends."""


@dataclass(frozen=True)
class Period:
    """From ``start`` on, up to but without ``end``; both in UTC."""

    start: datetime
    end: datetime


def day_of(zone: ZoneInfo, instant: datetime) -> Period:
    """The calendar day of ``zone`` in which ``instant`` (aware) lies: 23 or 25 hours where the clocks are moved."""
    today = instant.astimezone(zone).date()
    return Period(_midnight(zone, today), _midnight(zone, today + timedelta(days=1)))


def week_of(zone: ZoneInfo, instant: datetime) -> Period:
    """The week of ``zone``, from Monday to Sunday, in which ``instant`` (aware) lies."""
    today = instant.astimezone(zone).date()
    monday = today - timedelta(days=today.weekday())
    return Period(_midnight(zone, monday), _midnight(zone, monday + timedelta(days=7)))


def _midnight(zone: ZoneInfo, day: date) -> datetime:
    """The first instant of a date; where clocks skip midnight that is when they do, and of two the first."""
    return datetime.combine(day, time(), zone).astimezone(UTC)

"""Time zones: their names, and where a candidate lives as far as the number tells."""

from datetime import datetime
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers import timezone

from domain.model import E164
from domain.windows import known_zone

__all__ = ["known_zone", "zone_of"]


def zone_of(profile: str, phone: E164, line: str, at: datetime) -> str:
    """A candidate's time zone: what the profile says, else the zone of the number's region, else the line's.

    Where the region has several zones it is the line's if that is one of them, else the one in the middle by what its
    clocks show ``at`` this instant, so that nobody is taken to live a whole country away.
    """
    if profile:
        return profile
    zones = [name for name in _zones_of_region(phone) if known_zone(name)]
    if not zones or line in zones:
        return line
    by_clock = sorted(zones, key=lambda name: (at.astimezone(ZoneInfo(name)).replace(tzinfo=None), name))
    return by_clock[len(by_clock) // 2]


def _zones_of_region(phone: E164) -> tuple[str, ...]:
    try:
        number = phonenumbers.parse(phone, None)
    except phonenumbers.NumberParseException:
        return ()
    found: tuple[str, ...] = timezone.time_zones_for_number(number)
    return () if timezone.UNKNOWN_TIMEZONE in found else found
